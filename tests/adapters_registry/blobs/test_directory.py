"""Blobs in a directory: what only files have."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from adapters_registry.blobs import DirectoryBlobs
from adapters_registry.errors import StorageFailed
from tests.adapters_registry.artifacts import sha256

DATA = b"weights" * 1000
SHARED = Path("/dev/shm")


@pytest.fixture
def blobs(tmp_path):
    return DirectoryBlobs(tmp_path / "blobs")


def test_a_new_blob_is_the_staged_file_itself(blobs, stage):
    staged = stage(DATA)
    inode = staged.stat().st_ino
    blobs.put(staged, sha256(DATA), len(DATA))
    assert not staged.exists()
    with blobs.open(sha256(DATA)) as file:
        assert os.fstat(file.fileno()).st_ino == inode


def test_who_reads_goes_on_while_the_blob_is_deleted_or_replaced(blobs, stage):
    blobs.put(stage(DATA), sha256(DATA), len(DATA))
    with blobs.open(sha256(DATA)) as file:
        assert file.read(7) == DATA[:7]
        blobs.delete(sha256(DATA))
        blobs.put(stage(DATA), sha256(DATA), len(DATA))
        assert file.read() == DATA[7:]


def test_another_file_system_is_named(stage, tmp_path):
    if not SHARED.is_dir() or SHARED.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    staged = stage(DATA)
    with tempfile.TemporaryDirectory(dir=SHARED) as directory:
        elsewhere = DirectoryBlobs(Path(directory))
        with pytest.raises(StorageFailed, match="different file systems"):
            elsewhere.put(staged, sha256(DATA), len(DATA))
    assert staged.read_bytes() == DATA
