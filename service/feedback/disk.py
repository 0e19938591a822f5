"""The system calls by which a log changes the disk, in one place, where tests can make each of them fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_registry.support.durable import FULL, sync_directory
from service.errors import StorageFailed, StorageFull


class Disk:
    """The system's disk. Methods raise ``OSError``."""

    def create(self, path: Path) -> int:
        """An empty file, open for reading and writing; replaces the remains of an earlier failure."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, file: int, data: bytes, position: int) -> None:
        """Write all of ``data`` at ``position``."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(file, rest, position)
            rest, position = rest[written:], position + written

    def sync(self, file: int) -> None:
        os.fsync(file)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        sync_directory(path)


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Translates an ``OSError`` of the block to ``StorageFull`` or ``StorageFailed``; ``doing`` follows "while"."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(f"no room on the disk while {doing}: free some, then send it again") from error
        reason = error.strerror or type(error).__name__
        raise StorageFailed(f"{reason} while {doing}: see to the disk, then send it again") from error
