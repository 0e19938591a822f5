from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import BinaryIO

import pytest

from adapters_registry.blobs import DirectoryBlobs
from adapters_registry.errors import BlobNotFound, DigestMismatch, StorageFailed, StorageFull
from tests.adapters_registry.artifacts import sha256

DATA = b"weights" * 1000


class FullDisk(io.FileIO):
    """Takes a few bytes, then fails as the system does."""

    code = errno.ENOSPC

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x")
        self.room = 1024

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data)[: self.room])  # type: ignore[arg-type]
        if not piece:
            raise OSError(self.code, "no")
        self.room -= len(piece)
        return super().write(piece)


class BrokenDisk(FullDisk):
    code = errno.EIO


def put(blobs: DirectoryBlobs, data: bytes, digest: str) -> bool:
    incoming = blobs.begin()
    incoming.write(data)
    return incoming.commit(digest)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_blob_lies_under_its_digest(blobs, tmp_path):
    digest = sha256(DATA)
    assert put(blobs, DATA, digest)
    hexadecimal = digest.removeprefix("sha256:")
    assert tree(tmp_path / "blobs") == [f"sha256/{hexadecimal[:2]}/{hexadecimal}"]
    assert blobs.size(digest) == blobs.settle(digest) == len(DATA)
    with blobs.open(digest) as file:
        assert file.read() == DATA


def test_the_same_blob_again_is_not_new(blobs, tmp_path):
    assert put(blobs, DATA, sha256(DATA))
    assert not put(blobs, DATA, sha256(DATA))
    assert len(tree(tmp_path / "blobs")) == 1


def test_other_bytes_than_the_digest_names_leave_nothing(blobs, tmp_path):
    with pytest.raises(DigestMismatch):
        put(blobs, DATA, sha256(b"other"))
    assert tree(tmp_path / "blobs") == []


def test_an_abandoned_upload_leaves_nothing(blobs, tmp_path):
    incoming = blobs.begin()
    incoming.write(DATA)
    incoming.abort()
    assert tree(tmp_path / "blobs") == []


def test_what_a_killed_process_left_is_swept_at_start(blobs, tmp_path):
    blobs.begin().write(DATA)
    assert len(tree(tmp_path / "blobs")) == 1
    DirectoryBlobs(tmp_path / "blobs")
    assert tree(tmp_path / "blobs") == []


@pytest.mark.parametrize(("create", "error"), [(FullDisk, StorageFull), (BrokenDisk, StorageFailed)])
def test_a_failing_disk_leaves_nothing(tmp_path, create, error):
    blobs = DirectoryBlobs(tmp_path, create)
    with pytest.raises(error):
        put(blobs, DATA, sha256(DATA))
    assert tree(tmp_path) == []
    assert blobs.size(sha256(DATA)) is None


def test_a_short_write_is_continued(tmp_path):
    class Stuttering(io.FileIO):
        def write(self, data: object) -> int:
            return super().write(bytes(memoryview(data)[:7]))  # type: ignore[arg-type]

    def create(path: Path) -> BinaryIO:
        return Stuttering(path, "x")  # type: ignore[return-value]

    blobs = DirectoryBlobs(tmp_path, create)
    assert put(blobs, DATA, sha256(DATA))
    assert blobs.size(sha256(DATA)) == len(DATA)


def test_an_unknown_blob(blobs):
    assert blobs.size(sha256(DATA)) is None
    with pytest.raises(BlobNotFound):
        blobs.open(sha256(DATA))
    with pytest.raises(BlobNotFound):
        blobs.settle(sha256(DATA))
