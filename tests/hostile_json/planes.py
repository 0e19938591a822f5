"""Both planes in this process, called without a socket or a client's own copies of the body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from adapters_registry.api.app import create_app
from adapters_registry.feed import Feed
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service.feedback.store import FeedbackStore
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import FeedbackOptions
from tests.adapters_registry import artifacts
from tests.hostile_json.bodies import Attack
from tests.service.api.world import says, world

_CHUNK = 1 << 16


@asynccontextmanager
async def planes(path: Path) -> AsyncIterator[dict[str, ASGIApp]]:
    """By name, as routes name them. Data is kept under ``path``."""
    options = FeedbackOptions(enabled=True, gather_s=0.0, wait_s=0.0)
    feed = Feed()
    async with AsyncExitStack() as stack:
        store = FeedbackStore(path / "feedback", options)
        stack.push_async_callback(store.close)
        feedback = RecorderClient(StoreOwner(lambda: store).answer, 1 << 20)
        registry = stack.enter_context(open_registry(path / "registry", Limits(), feed.committed))
        registry.put_base(artifacts.base())
        app = create_app(registry, feed, Limits())
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield {"gateway": world(path, says("fine"), feedback=feedback).app, "registry": app}


async def attack(apps: dict[str, ASGIApp], one: Attack) -> int:
    """The answer's status."""
    return await call(apps[one.route.plane], one.route.method, one.route.path, one.body)


async def call(app: ASGIApp, method: str, path: str, body: bytes = b"") -> int:
    pieces = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)] or [b""]
    pieces.reverse()
    status = 0

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.Event().wait()  # the caller stays for the answer
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return status
