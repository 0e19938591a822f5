"""A real registry behind the command line, which these tests call in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_registry.api.app import create_app
from adapters_registry.database import open_sqlite
from adapters_registry.feed import Feed
from adapters_registry.kinds import judge
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service import cli
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

Run = Callable[..., tuple[int, str, str]]


def document(answer: tuple[int, str, str]) -> Any:
    """The one document of a command that went well."""
    code, out, err = answer
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that need not be migrated again for every test."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    open_sqlite(path).dispose()
    return path


@pytest.fixture
def url(tmp_path: Path, migrated: Path) -> Iterator[str]:
    feed = Feed()
    (tmp_path / "data").mkdir()
    shutil.copy(migrated, tmp_path / "data" / "registry.db")
    with (
        open_registry(tmp_path / "data", Limits(), feed.committed) as registry,
        serving(create_app(registry, feed, Limits())) as url,
    ):
        registry._check = judge  # in this process, which is quick
        registry.put_base(artifacts.base())
        yield url


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; its exit code, stdout and stderr."""
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_URL", url)
    monkeypatch.delenv("QUICKCHANGE_API_KEY", raising=False)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[float], Path]:
    def make(fill: float) -> Path:
        return artifacts.folder(tmp_path / str(fill), weights=artifacts.pack(artifacts.tensors(fill)))

    return make
