"""A registry that a past release wrote is opened, verified, continued, promoted and rolled back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters_registry.capabilities import UNANNOUNCED
from adapters_registry.errors import EvaluationRequired, InvalidKey, VersionDeleted
from adapters_registry.folder import CONFIG, WEIGHTS, describe
from adapters_registry.keys import Keys
from adapters_registry.manifest import FORMAT
from adapters_registry.opening import open_registry
from adapters_registry.registry import Origin, Registry
from adapters_registry.settings import Limits
from adapters_registry.verify import main, verify
from tests.adapters_registry.conftest import store
from tests.adapters_registry.servers import PostgreSQL, find_postgresql
from tests.artefacts import GOLDEN, Golden

ACME = ("acme", "support")
Open = Callable[[], AbstractContextManager[Registry]]


@pytest.fixture(params=GOLDEN, ids=str)
def golden(request: pytest.FixtureRequest) -> Golden:
    found: Golden = request.param
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, golden: Golden) -> dict[str, Any]:
    """What the registry must be known by, and in which database it lies."""
    return {"database": request.param, **golden.expected[request.param]}


@pytest.fixture
def url(told: dict[str, Any], golden: Golden, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Of the restored database; None is SQLite's."""
    if told["database"] == "sqlite":
        yield None
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = server.make()
    programs = find_postgresql()
    assert programs is not None
    psql = [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", server.url(name)]
    with (golden.root / "postgresql.sql").open() as dump:
        subprocess.run(psql, stdin=dump, check=True, capture_output=True)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def data(golden: Golden, tmp_path: Path) -> Path:
    return golden.data(tmp_path / "data")


@pytest.fixture
def opened(data: Path, url: str | None) -> Open:
    return partial(open_registry, data, Limits(), lambda: None, database_url=url)


def test_all_of_it_is_as_it_was_written(opened: Open, told: dict[str, Any]) -> None:
    with opened() as registry:
        found = verify(registry)
    assert found.problems == ()
    assert (found.versions, found.audit_entries) == (4, told["audit_entries"])


def test_the_program_that_verifies_says_so(
    opened: Open, data: Path, url: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data-dir", str(data)] + ([] if url is None else ["--database-url", url])
    assert main(options) == 0
    assert "4 versions, 6 blobs" in capsys.readouterr().out


def test_names_point_where_they_did(opened: Open, told: dict[str, Any]) -> None:
    with opened() as registry:
        adapter = registry.adapter(*ACME)
        assert {alias.alias: alias.version for alias in adapter.aliases} == told["aliases"]
        assert adapter.shared_with == ("globex",)
        assert registry.verify_audit().head == told["audit_head"]
        assert registry.tenant("globex").max_versions == 7
        for folder, digest in told["digests"].items():
            if folder == "one-layer":
                with pytest.raises(VersionDeleted):
                    registry.version(digest)
            else:
                assert registry.version(digest).manifest.digest == digest
        (evaluation,) = registry.version(told["digests"]["patterns"]).evaluations
        assert (evaluation.name, evaluation.metrics) == ("safety", {"refusals": 0.25})
        assert len(registry.lineage(told["digests"]["plain"]).nodes) == 5


def test_keys_are_known_and_the_revoked_one_is_not(opened: Open, told: dict[str, Any]) -> None:
    with opened() as registry:
        keys = Keys(registry.metadata)
        assert keys.authenticate(f"Bearer {told['keys']['operator']}").tenant is None
        assert keys.authenticate(f"Bearer {told['keys']['acme']}").tenant == "acme"
        for header in (f"Bearer {told['keys']['revoked']}", None):
            with pytest.raises(InvalidKey):
                keys.authenticate(header)


def test_it_goes_on_promoted_rolled_back_and_pushed(opened: Open, told: dict[str, Any], golden: Golden) -> None:
    with opened() as registry:
        alias = next(alias for alias in registry.adapter(*ACME).aliases if alias.alias == "production")
        with pytest.raises(EvaluationRequired):
            registry.move_alias(*ACME, "production", 1, alias.generation)
        moved = registry.move_alias(*ACME, "production", 3, alias.generation)
        assert (moved.version, moved.generation) == (3, alias.generation + 1)
        registry.protect_alias(*ACME, "production", False, None)
        assert registry.rollback(*ACME, "production").version == 2
        again = push(registry, golden.root / "folders" / "plain")
        assert not again.created, "the same files are the version that a past release made of them"
        assert again.record.digest == told["digests"]["plain"]
        revived = push(registry, golden.root / "folders" / "one-layer")
        assert (revived.created, revived.record.number) == (True, 5)
        assert revived.record.digest == told["digests"]["one-layer"]
        assert verify(registry).problems == ()


def test_a_service_of_today_changes_no_digest_of_a_past_release(
    opened: Open, told: dict[str, Any], golden: Golden
) -> None:
    """It reads what this release writes, so that new versions are of the newest format."""
    with opened() as registry:
        base = registry.base(told["base"])
        registry.put_base(base.model_copy(update={"runs": tuple(UNANNOUNCED)}))
        again = push(registry, golden.root / "folders" / "plain")
        assert (again.created, again.record.digest) == (False, told["digests"]["plain"])
        revived = push(registry, golden.root / "folders" / "one-layer")
        assert (revived.created, revived.record.digest) == (True, told["digests"]["one-layer"])
        new = push(registry, golden.root / "folders" / "plain", name="newcomer")
        assert registry.version(new.record.digest).manifest.format == FORMAT
        assert verify(registry).problems == ()


def push(registry: Registry, folder: Path, name: str = "support") -> Any:
    files = [describe(folder / path) for path in (CONFIG, WEIGHTS)]
    for file in files:
        store(registry, "acme", (folder / file.path).read_bytes())
    return registry.publish("acme", name, files, Origin())
