"""A registry on each combination of database and blobs, alone and behind a real socket."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from pydantic import JsonValue
from starlette.types import ASGIApp

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.api.app import create_app
from adapters_registry.blobs import BlobStore, DirectoryBlobs, Staging
from adapters_registry.blobs.bucket import BucketBlobs
from adapters_registry.blobs.intake import keep
from adapters_registry.client import RegistryClient
from adapters_registry.database import open_sqlite
from adapters_registry.feed import Feed
from adapters_registry.kinds import judge
from adapters_registry.metadata import Metadata
from adapters_registry.postgresql import open_postgresql
from adapters_registry.records import Published
from adapters_registry.registry import Origin, Registry
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.servers import PostgreSQL, S3Server, postgresql_server, s3_server

COMBINATIONS = ("sqlite-directory", "postgresql-s3")
LIMITS = Limits(rank=8, upload_bytes=1 << 20, uploads=2, watchers=2, lineage_bytes=100)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that need not be migrated again for every test."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    open_sqlite(path).dispose()
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def template(postgresql: PostgreSQL) -> str:
    """Like ``migrated``, a database to be copied."""
    name = postgresql.make()
    open_postgresql(postgresql.url(name)).dispose()
    return name


@pytest.fixture
def database_url(postgresql: PostgreSQL, template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test alone."""
    name = postgresql.copy(template)
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture(params=COMBINATIONS)
def combination(request: pytest.FixtureRequest) -> str:
    """What keeps rows and bytes; whoever asks for it, or for ``registry``, runs once on each."""
    name: str = request.param
    return name


@pytest.fixture
def engine(combination: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A migrated database."""
    if combination == "sqlite-directory":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "registry.db")
        engine = open_sqlite(tmp_path / "registry.db")
    else:
        engine = open_postgresql(request.getfixturevalue("database_url"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A part of a bucket of this test alone, with the variables that lead there."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.url(secrets.token_hex(8))


@pytest.fixture
def blobs(combination: str, request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Bytes."""
    if combination == "sqlite-directory":
        return DirectoryBlobs(tmp_path / "blobs")
    return BucketBlobs(request.getfixturevalue("bucket_url"))


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging", LIMITS)


@pytest.fixture
def registry(engine: sa.Engine, blobs: BlobStore, staging: Staging, feed: Feed) -> Iterator[Registry]:
    """With ``artifacts.base()`` announced. Artifacts are checked in this process, which is quick."""
    metadata = Metadata(engine)
    registry = Registry(metadata, blobs, staging, LIMITS, feed.committed, judge)
    registry.put_base(artifacts.base())
    yield registry
    metadata.close()


@pytest.fixture
def push(registry: Registry, tmp_path: Path) -> Callable[..., Published]:
    """Publish a folder, or an adapter whose values are all ``fill``."""

    def publish(
        name: str = "acme/support",
        fill: float = 0.5,
        promote: bool = False,
        path: Path | None = None,
        lineage: Mapping[str, JsonValue] | None = None,
        by: Principal = ANONYMOUS,
    ) -> Published:
        weights = artifacts.pack(artifacts.tensors(fill))
        tenant, _, adapter = name.partition("/")
        source = path or artifacts.folder(tmp_path / f"adapter-{fill}", weights=weights)
        for file in artifacts.files(source):
            store(registry, tenant, (source / file.path).read_bytes())
        origin = Origin(promote=promote, lineage=lineage or {})
        return registry.publish(tenant, adapter, artifacts.files(source), origin, by)

    return publish


@pytest.fixture
def app(registry: Registry, feed: Feed, request: pytest.FixtureRequest) -> FastAPI:
    """Parametrised indirectly with other limits."""
    return create_app(registry, feed, LIMITS.model_copy(update=getattr(request, "param", {})))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[RegistryClient]:
    with RegistryClient(url) as client:
        yield client


def store(registry: Registry, tenant: str, data: bytes) -> str:
    """Upload ``data``; its digest."""
    digest = artifacts.sha256(data)
    upload = registry.staging.begin(tenant, digest)
    upload.write(data)
    keep(upload, registry.staging, registry.blobs, registry.uploaded)
    return digest


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
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
