"""Builds the ASGI application over an open registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from adapters_registry.api.routes import Plane, router
from adapters_registry.api.status import install
from adapters_registry.feed import Feed
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits


def create_app(registry: Registry, feed: Feed, limits: Limits) -> FastAPI:
    """``registry`` must report its commits to ``feed``."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.bind()
        yield
        feed.close()

    app = FastAPI(title="Quickchange adapter registry", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.state.plane = Plane(registry, feed, limits)
    app.include_router(router)
    install(app)
    return app
