"""The file operations of the blob store, in one place, where tests can make each of them fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adapters_registry.errors import RegistryError, StorageFailed, StorageFull
from adapters_registry.support.durable import FULL, sync_directory


class Disk:
    """Operations that change files. Every method may raise ``OSError``."""

    def create(self, path: Path) -> BinaryIO:
        """A new file; unbuffered, so that a full disk shows at the write."""
        return path.open("xb", buffering=0)

    def append(self, path: Path) -> BinaryIO:
        """An existing file, at its end; unbuffered."""
        file = path.open("r+b", buffering=0)
        file.seek(0, os.SEEK_END)
        return file

    def write(self, file: BinaryIO, data: bytes) -> None:
        """Writes all of ``data``, even if the system accepts only a part at a time."""
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def sync(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())

    def touch(self, path: Path) -> None:
        """Set its modification time to now."""
        os.utime(path)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Does nothing if the file is missing."""
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        """With its parents; does nothing if it exists."""
        path.mkdir(parents=True, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Make a rename or an unlink in ``path`` survive power loss."""
        sync_directory(path)


@contextmanager
def translated() -> Iterator[None]:
    """Translates failed file operations within the block to the registry's errors."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error


def storage_error(error: OSError) -> RegistryError:
    """The registry's error for a failed file operation."""
    if error.errno in FULL:
        return StorageFull("The registry's disk is full: free space, then repeat the request.", retry_after_s=30)
    if error.errno == errno.EXDEV:
        return StorageFailed(
            "The registry's blobs/ and staging/ lie on different file systems: put both on one.", retry_after_s=5
        )
    return StorageFailed(
        f"The registry's disk failed ({error.strerror}): see its log, then repeat the request.", retry_after_s=5
    )
