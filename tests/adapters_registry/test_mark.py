"""A registry that ever had a key lets nobody in without one, whatever becomes of its database."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters_registry import mark as mark_module
from adapters_registry.__main__ import main
from adapters_registry.access import ANONYMOUS, Principal, Scope, new_key
from adapters_registry.errors import InvalidKey, InvalidValue, KeysLost, StorageFull
from adapters_registry.keys import Keys
from adapters_registry.mark import NAME, KeyMark
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits

SERVICE = new_key()


@contextmanager
def opened(directory: Path, *elsewhere: Path) -> Iterator[Keys]:
    """As the registry's process opens them."""
    with open_registry(directory, Limits(), lambda: None) as registry:
        yield Keys(registry.metadata, service_key=SERVICE, mark=KeyMark(directory, *elsewhere))


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """``main`` writes the root logger's lines to the stderr of the test that calls it, which is closed after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a registry that has a key."""
    with opened(tmp_path / "data", tmp_path / "other") as keys:
        keys.create(None, "operator", [Scope.ADMIN])
    return tmp_path / "data"


def delete_database(directory: Path) -> None:
    (directory / "registry.db").unlink()


def swap_database(directory: Path) -> None:
    """By one that never had a key."""
    with opened(directory.parent / "new") as keys:
        assert keys.authenticate(None) is ANONYMOUS
    (directory.parent / "new" / "registry.db").replace(directory / "registry.db")


def lose_all(directory: Path) -> None:
    """The wrong disk is mounted there."""
    directory.rename(directory.parent / "aside")


def test_the_key_of_the_service_itself_is_none_of_them(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        keys.authenticate(f"Bearer {SERVICE}")
        assert keys.authenticate(None) is ANONYMOUS
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("lose", [delete_database, swap_database, lose_all])
def test_it_stays_closed(directory: Path, lose: Callable[[Path], None]) -> None:
    lose(directory)
    with opened(directory, directory.parent / "other") as keys:
        for header in (None, "Bearer nonsense", f"Bearer {new_key()}"):
            with pytest.raises(KeysLost, match="create-admin-key"):
                keys.authenticate(header)
        service: Principal = keys.authenticate(f"Bearer {SERVICE}")
        assert service.scopes == {Scope.SERVE}


def test_an_admin_key_made_on_the_machine_ends_it(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delete_database(directory)
    assert main(["create-admin-key", "--data-dir", str(directory)]) == 0
    key = capsys.readouterr().out.strip()
    with opened(directory) as keys:
        assert keys.authenticate(f"Bearer {key}").may(Scope.ADMIN)
        with pytest.raises(InvalidKey):
            keys.authenticate(None)


def test_it_is_reopened_on_purpose_only(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = directory.parent / "other"
    reopen = ["reopen", "--data-dir", str(directory), "--mark-dir", str(other)]
    assert main(reopen) == 1
    assert "has keys" in capsys.readouterr().err
    delete_database(directory)
    assert main(reopen) == 0
    with opened(directory, other) as keys:
        assert keys.authenticate(None) is ANONYMOUS


def test_beyond_loopback_it_does_not_start(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delete_database(directory)
    assert main(["--data-dir", str(directory), "--host", "0.0.0.0"]) == 1
    assert "database holds none any more" in capsys.readouterr().err


def test_keys_of_an_earlier_release_are_marked_at_the_start(tmp_path: Path) -> None:
    with open_registry(tmp_path, Limits(), lambda: None) as registry:
        Keys(registry.metadata).create(None, "operator", [Scope.ADMIN])
        assert not (tmp_path / NAME).exists()
        Keys(registry.metadata, mark=KeyMark(tmp_path))
    assert (tmp_path / NAME).exists()


def test_a_process_marks_the_key_that_another_made(tmp_path: Path) -> None:
    """Of several that share a PostgreSQL database each has a directory of its own."""
    with open_registry(tmp_path / "data", Limits(), lambda: None) as registry:
        one, other = (Keys(registry.metadata, mark=KeyMark(tmp_path / name)) for name in ("one", "other"))
        assert other.authenticate(None) is ANONYMOUS
        one.create(None, "operator", [Scope.ADMIN])
        with pytest.raises(InvalidKey):
            other.authenticate(None)
    assert (tmp_path / "other" / NAME).exists()


def test_a_first_key_that_fails_leaves_no_mark(tmp_path: Path) -> None:
    with opened(tmp_path) as keys:
        with pytest.raises(InvalidValue):
            keys.create("acme", "not an operator's", [Scope.INFER])
        assert keys.authenticate(None) is ANONYMOUS
    assert not KeyMark(tmp_path).is_set


def test_without_a_mark_no_key_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path) as keys:
        monkeypatch.setattr(mark_module, "_write", full)
        with pytest.raises(StorageFull):
            keys.create(None, "operator", [Scope.ADMIN])
        assert not keys.exist()
        assert keys.authenticate(None) is ANONYMOUS


def test_a_place_that_cannot_be_read_may_hold_the_mark(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert not KeyMark().is_set
    assert not KeyMark(tmp_path).is_set
    assert KeyMark(tmp_path / ("x" * 300)).is_set  # the name is too long to be looked at
