"""The mark of a registry that has had a key: a file next to the database, which remains if the database is lost.

    no key ──► the mark is durable ──► the first key is durable ──► each start reads the mark, even if rows are lost

Only an operator removes it (``python -m adapters_registry reopen``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_registry.errors import StorageFailed, StorageFull
from adapters_registry.support.durable import FULL, sync_directory

NAME = "keys-were-made"
_TEXT = """\
API keys were created for this registry. While this file exists, every request needs a key, even if the database has
no key any more. To allow requests without keys again: python -m adapters_registry reopen --help
"""


class KeyMark:
    """One mark in several directories, set if any of them has it. Without a directory it is in memory only."""

    def __init__(self, *directories: Path) -> None:
        self._paths = [directory / NAME for directory in directories]
        there = [_is_there(path) for path in self._paths]
        self._is_set = any(there)
        self._is_kept = self._is_set and all(there)

    def __repr__(self) -> str:
        return f"<KeyMark {'set' if self._is_set else 'not set'}>"

    @property
    def is_set(self) -> bool:
        return self._is_set

    @property
    def is_kept(self) -> bool:
        """Whether it is set and stored in every directory; False after a failed write."""
        return self._is_kept

    def set(self) -> None:
        """Durable on return. Raises ``StorageFull`` or ``StorageFailed``; it is then still set in memory."""
        self._is_set = True
        with _storage_errors("written"):
            for path in self._paths:
                if not path.exists():
                    _write(path)
        self._is_kept = True

    def remove(self) -> None:
        """Durable on return; also removed from memory. Raises ``StorageFull`` or ``StorageFailed``."""
        with _storage_errors("removed"):
            for path in self._paths:
                if path.exists():
                    path.unlink()
                    sync_directory(path.parent)
        self._is_set = self._is_kept = False


@contextmanager
def _storage_errors(done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in FULL else StorageFailed
        raise kind(f"The mark that there are keys cannot be {done} ({error}).", retry_after_s=5) from error


def _is_there(path: Path) -> bool:
    """True also if the directory cannot be read, since it might have the mark."""
    try:
        return path.exists()
    except OSError:
        return True


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write(_TEXT)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
