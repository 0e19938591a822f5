"""Blobs in a directory of this machine.

    <root>/sha256/<2 hex>/<64 hex>    a blob: renamed in, later unlinked, never edited

Write order: staged file in the same file system, hashed while written → fsync → rename → fsync of the directories.
Only then may a row of the database name the digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from adapters_registry.blobs.disk import Disk, translated
from adapters_registry.blobs.store import BLOB_NAME, StoredBlob
from adapters_registry.errors import BlobNotFound


class DirectoryBlobs:
    """Blobs under one directory, which this process owns."""

    def __init__(self, root: Path, disk: Disk = Disk()) -> None:
        self._blobs = root / "sha256"
        self._disk = disk
        with translated():
            disk.make_directory(self._blobs)
            disk.sync_directory(root)
            disk.sync_directory(root.parent)

    def put(self, staged: Path, digest: str, size: int) -> bool:
        target = self._path(digest)
        with translated():
            self._disk.make_directory(target.parent)
            # A blob of another size was damaged; a rename replaces it as a whole, and open readers keep the old one.
            new = self.size(digest) != size
            if new:
                self._disk.touch(staged)  # the upload may have been parked long ago: the blob's age starts now
                self._disk.rename(staged, target)
            self._sync(target)
        return new

    def size(self, digest: str) -> int | None:
        with translated():
            try:
                return self._path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def settle(self, digest: str) -> int:
        size = self.size(digest)
        if size is None:
            raise _missing(digest)
        with translated():
            self._sync(self._path(digest))
        return size

    def open(self, digest: str) -> BinaryIO:
        with translated():
            try:
                return self._path(digest).open("rb")
            except FileNotFoundError:
                raise _missing(digest) from None

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        with translated():
            self._disk.unlink(path)
            if path.parent.is_dir():
                self._sync(path)

    def stored(self) -> Iterator[StoredBlob]:
        with translated():
            for path in self._blobs.glob("??/*"):
                if not BLOB_NAME.fullmatch(path.name):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                yield StoredBlob(f"sha256:{path.name}", status.st_size, status.st_mtime)

    def _sync(self, path: Path) -> None:
        """Also if the name existed, or was missing, before: the writer that changed it may not have synced it yet."""
        self._disk.sync_directory(path.parent)
        self._disk.sync_directory(self._blobs)

    def _path(self, digest: str) -> Path:
        hexadecimal = digest.removeprefix("sha256:")
        return self._blobs / hexadecimal[:2] / hexadecimal


def _missing(digest: str) -> BlobNotFound:
    return BlobNotFound(f"No blob {digest}: upload it first.", param=digest)
