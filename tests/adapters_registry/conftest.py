"""A registry in a temporary directory, alone and behind a real socket."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from adapters_registry.api.app import create_app
from adapters_registry.blobs import BlobStore, DirectoryBlobs
from adapters_registry.client import RegistryClient
from adapters_registry.database import open_sqlite
from adapters_registry.feed import Feed
from adapters_registry.metadata import Metadata
from adapters_registry.records import Published
from adapters_registry.registry import Origin, Registry
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts

LIMITS = Limits(rank=8, upload_bytes=1 << 20, uploads=2, watchers=2, lineage_bytes=100)


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that need not be migrated again for every test."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    open_sqlite(path).dispose()
    return path


@pytest.fixture
def registry(tmp_path: Path, migrated: Path, blobs: BlobStore, feed: Feed) -> Iterator[Registry]:
    """With ``artifacts.base()`` announced."""
    shutil.copy(migrated, tmp_path / "registry.db")
    metadata = Metadata(open_sqlite(tmp_path / "registry.db"))
    registry = Registry(metadata, blobs, LIMITS, feed.committed)
    registry.put_base(artifacts.base())
    yield registry
    metadata.close()


@pytest.fixture
def push(registry: Registry, tmp_path: Path) -> Callable[..., Published]:
    """Publish a folder, or an adapter whose values are all ``fill``."""

    def publish(name: str = "acme/support", fill: float = 0.5, promote: bool = False, path: Path | None = None):
        weights = artifacts.pack(artifacts.tensors(fill))
        source = path or artifacts.folder(tmp_path / f"adapter-{fill}", weights=weights)
        for file in artifacts.files(source):
            store(registry.blobs, (source / file.path).read_bytes())
        tenant, _, adapter = name.partition("/")
        return registry.publish(tenant, adapter, artifacts.files(source), Origin(promote=promote))

    return publish


@pytest.fixture
def app(registry: Registry, feed: Feed) -> FastAPI:
    return create_app(registry, feed, LIMITS)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[RegistryClient]:
    with RegistryClient(url) as client:
        yield client


def store(blobs: BlobStore, data: bytes) -> str:
    digest = artifacts.sha256(data)
    incoming = blobs.begin()
    incoming.write(data)
    incoming.commit(digest)
    return digest


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """``app`` on a free port of this machine; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
