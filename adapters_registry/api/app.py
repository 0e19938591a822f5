"""Builds the ASGI application over an open registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI

from adapters_registry.access import KeyText
from adapters_registry.api.auth import check_requirements
from adapters_registry.api.edge import Edge
from adapters_registry.api.plane import Plane
from adapters_registry.api.routes import FAMILIES
from adapters_registry.api.status import install
from adapters_registry.edge.cors import Cors
from adapters_registry.edge.origins import Origins
from adapters_registry.feed import Feed
from adapters_registry.keys import Keys
from adapters_registry.mark import KeyMark
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits

_ANSWERING = 16
"""Threads for short requests."""


def create_app(
    registry: Registry,
    feed: Feed,
    limits: Limits,
    *,
    anonymous: bool = True,
    service_key: KeyText | None = None,
    mark: KeyMark | None = None,
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """``registry`` reports its commits to ``feed``; pages of ``cors_origins`` may send requests; the rest is as for
    ``Keys``.

    Raises ``TypeError`` for a route, added until the start, that declares neither a scope nor ``OPEN``.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        check_requirements(app.routes)
        # A slow store occupies a thread per upload: enough other threads must be left to answer.
        threads = limits.uploads + limits.validations + _ANSWERING
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "verbs"))
        feed.bind()
        yield
        feed.close()
        app.state.plane.long_threads.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="Quickchange adapter registry", lifespan=lifespan, openapi_url=None)
    app.router.redirect_slashes = False
    keys = Keys(registry.metadata, feed.committed, anonymous=anonymous, service_key=service_key, mark=mark)
    app.state.plane = Plane(registry, keys, registry.staging, feed, limits, Origins.of(cors_origins))
    app.state.instance = None if service_key is None else service_key.id
    for family in FAMILIES:
        app.router.routes.extend(family.router.routes)
    check_requirements(app.routes)
    install(app)
    app.add_middleware(Edge, origins=cors_origins)
    app.add_middleware(Cors, origins=cors_origins)  # the outermost: the last one added
    return app
