"""The two stores of blobs, so that one suite runs on both, and files as an upload leaves them for a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import S3Store

from adapters_registry.blobs import BlobStore, DirectoryBlobs
from adapters_registry.blobs.bucket import BucketBlobs
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.servers import BUCKET, S3Server

Stage = Callable[[bytes], Path]
_numbers = itertools.count()


class InDirectory:
    """A directory's blobs, and the files beside the code."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> BlobStore:
        return DirectoryBlobs(self._root)

    def write(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())


class InBucket:
    """A prefix's blobs, and the objects beside the code."""

    def __init__(self, server: S3Server) -> None:
        prefix = f"store{next(_numbers)}"
        self._url = server.url(prefix)
        self._objects = S3Store(BUCKET, prefix=prefix, client_options={"allow_http": True})

    def open(self) -> BlobStore:
        return BucketBlobs(self._url)

    def write(self, name: str, data: bytes) -> None:
        self._objects.put(name, data)

    def names(self) -> list[str]:
        return sorted(entry["path"] for page in self._objects.list() for entry in page)


Place = InDirectory | InBucket


@pytest.fixture
def s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, where this process's variables say."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(params=["directory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store's; whoever asks for it, or for ``blobs``, runs once on each."""
    if request.param == "directory":
        return InDirectory(tmp_path / "blobs")
    return InBucket(request.getfixturevalue("s3"))


@pytest.fixture
def blobs(place: Place) -> BlobStore:
    return place.open()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Data as a staged file."""

    def write(data: bytes) -> Path:
        path = tmp_path / f"staged-{next(_numbers)}"
        path.write_bytes(data)
        return path

    return write


def name_of(data: bytes) -> str:
    """Where a store keeps it, as all releases must agree."""
    hexadecimal = sha256(data).removeprefix("sha256:")
    return f"sha256/{hexadecimal[:2]}/{hexadecimal}"
