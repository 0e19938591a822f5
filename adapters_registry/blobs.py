"""Bytes by digest in a directory: whole and checked, or absent.

    <root>/
      incoming/<random>         an upload under way; emptied at start
      sha256/<2 hex>/<64 hex>   a blob: renamed in, later unlinked, never edited

Write order: temp file in the same file system → hash while writing → check → fsync → rename → fsync of the
directory. Only then may a row of the database name the digest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from adapters_registry.errors import BlobNotFound, DigestMismatch, RegistryError, StorageFailed, StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Incoming(Protocol):
    """One upload. Ends with exactly one ``commit`` or ``abort``; ``abort`` after either is harmless."""

    size: int
    """Bytes so far."""

    def write(self, chunk: bytes) -> None: ...

    def commit(self, digest: str) -> bool:
        """Keep the bytes as ``digest``; True if they are new. ``DigestMismatch`` leaves nothing."""

    def abort(self) -> None: ...


class BlobStore(Protocol):
    """The seam to bytes. Every method may raise ``StorageFull`` or ``StorageFailed``."""

    def begin(self) -> Incoming: ...

    def size(self, digest: str) -> int | None:
        """Bytes of the blob; None if it is not stored."""

    def settle(self, digest: str) -> int:
        """Bytes of the blob, whose name survives power loss from now on; ``BlobNotFound`` if it is not stored."""

    def open(self, digest: str) -> BinaryIO:
        """The blob from its start; ``BlobNotFound`` if it is not stored."""


def create_exclusively(path: Path) -> BinaryIO:
    """A new file; unbuffered, so that a full disk shows at the write."""
    return path.open("xb", buffering=0)


class DirectoryBlobs:
    """Blobs under one directory, which this process owns."""

    def __init__(self, root: Path, create: Callable[[Path], BinaryIO] = create_exclusively) -> None:
        self._incoming = root / "incoming"
        self._blobs = root / "sha256"
        self._create = create
        with _translated():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._blobs.mkdir(exist_ok=True)
            for left in self._incoming.iterdir():
                left.unlink()
            sync_directory(root)

    def begin(self) -> FileIncoming:
        path = self._incoming / uuid.uuid4().hex
        with _translated():
            return FileIncoming(self._create(path), path, self._path)

    def size(self, digest: str) -> int | None:
        with _translated():
            try:
                return self._path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def settle(self, digest: str) -> int:
        size = self.size(digest)
        if size is None:
            raise BlobNotFound(f"No blob {digest}: upload it first.", param=digest)
        with _translated():
            sync_directory(self._path(digest).parent)
            sync_directory(self._blobs)
        return size

    def open(self, digest: str) -> BinaryIO:
        with _translated():
            try:
                return self._path(digest).open("rb")
            except FileNotFoundError:
                raise BlobNotFound(f"No blob {digest}: upload it first.", param=digest) from None

    def _path(self, digest: str) -> Path:
        hexadecimal = digest.removeprefix("sha256:")
        return self._blobs / hexadecimal[:2] / hexadecimal


class FileIncoming:
    """An upload into ``incoming/``."""

    def __init__(self, file: BinaryIO, path: Path, place: Callable[[str], Path]) -> None:
        self.size = 0
        self._file = file
        self._path = path
        self._place = place
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        with self._guarded():
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(chunk)
        self.size += len(chunk)

    def commit(self, digest: str) -> bool:
        found = f"sha256:{self._hash.hexdigest()}"
        if found != digest:
            self.abort()
            raise DigestMismatch(
                f"The uploaded bytes are {found}, not {digest}: send the file again.", param="digest"
            )
        with self._guarded():
            os.fsync(self._file.fileno())
            self._file.close()
            target = self._place(digest)
            target.parent.mkdir(exist_ok=True)
            new = not target.exists()
            if new:
                self._path.rename(target)
            else:
                self._path.unlink()
            # Also where the blob was there: whoever put it may not have reached its own sync yet.
            sync_directory(target.parent)
            sync_directory(target.parent.parent)
        return new

    def abort(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with _translated():
                yield
        except RegistryError:
            self.abort()
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error


def storage_error(error: OSError) -> RegistryError:
    """What a failed file operation means to a caller."""
    if error.errno in _FULL:
        return StorageFull("The registry's disk is full: free space, then repeat the request.", retry_after_s=30)
    return StorageFailed(
        f"The registry's disk failed ({error.strerror}): see its log, then repeat the request.", retry_after_s=5
    )


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in ``path`` survive power loss."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
