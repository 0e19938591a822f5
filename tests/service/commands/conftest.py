"""A real registry behind the command line, which these tests call in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters_registry.api.app import create_app
from adapters_registry.feed import Feed
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service import cli
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    feed = Feed()
    with (
        open_registry(tmp_path / "data", Limits(), feed.committed) as registry,
        serving(create_app(registry, feed, Limits())) as url,
    ):
        registry.put_base(artifacts.base())
        yield url


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; its exit code, stdout and stderr."""
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_URL", url)

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
