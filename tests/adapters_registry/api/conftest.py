"""The application in this process, and keys of every sort for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from adapters_registry.folder import CONFIG
from adapters_registry.keys import Keys
from adapters_registry.records import Published
from adapters_registry.registry import Registry
from tests.adapters_registry import artifacts
from tests.adapters_registry.api.world import World, make


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1"
        ) as c,
    ):
        yield c


@pytest.fixture(params=["sqlite-directory"])
def combination(request: pytest.FixtureRequest) -> str:
    """What is said here of HTTP is the same on every store; the verbs' own tests run on each."""
    name: str = request.param
    return name


@pytest.fixture
def world(registry: Registry, push: Callable[..., Published], tmp_path: Path) -> World:
    """Two tenants, and keys."""
    folder = artifacts.folder(tmp_path / "theirs")
    published = push(path=folder)
    files = [file.model_dump() for file in artifacts.files(folder)]
    return make(Keys(registry.metadata), published, (folder / CONFIG).read_bytes(), files)
