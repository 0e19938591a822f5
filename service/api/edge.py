"""The outermost middleware: removes headers that control Ray Serve, and sets the request's id.

Ray Serve reads some request headers before any application code, so this middleware must be in front of Serve's code.
The gateway's listener puts it there (``serve/listener.py``). If Serve's proxies listen instead, name
``serve_middlewares`` in ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``. A second pass changes nothing.
Ordinary ingresses, meshes and clients send some of these headers, so requests with them are not refused.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_registry.edge.correlation import OWN_ID, REQUEST_ID, Correlation, correlation
from adapters_registry.edge.paths import canonical

_STAMP = "quickchange.stamp"
"""Key in the ASGI scope, which clients cannot set."""

STEERING = frozenset(
    {
        REQUEST_ID,  # Serve would use it as its own id of the request
        "serve-multiplexed-model-id",  # chooses a replica
        "x-session-id",  # chooses a replica
        "x-request-timeout-seconds",  # ≤ 0 switches the timeout off
        "x-request-disconnect-disabled",  # a disconnect would no longer cancel the request
    }
)
"""In lower case, with hyphens; proxies and Serve treat underscores as hyphens."""
STEERING_PREFIX = "x-serve-router-"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Set by the edge for each request."""

    request_id: str
    """The service's own id of the request: in logs, in answers' ids, and in Serve."""
    correlation: Correlation


class Edge:
    """Pure ASGI, so that it buffers neither bodies nor streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _STAMP in scope:
            await self._app(scope, receive, send)
            return
        stamp = Stamp(uuid.uuid4().hex, correlation(scope["headers"]))

        async def send_with_ids(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Serve's own middleware, if present, has already set the header to the id below.
                headers[REQUEST_ID] = stamp.correlation.client_request_id or stamp.request_id
                headers[OWN_ID] = stamp.request_id
            await send(message)

        kept = [(name, value) for name, value in scope["headers"] if not _steers(name)]
        kept.append((REQUEST_ID.encode(), stamp.request_id.encode()))
        inner = {**scope, "headers": kept, "path": canonical(scope["path"]), _STAMP: stamp}
        await self._app(inner, receive, send_with_ids)


def _steers(raw: bytes) -> bool:
    name = raw.decode("latin-1").lower().replace("_", "-")
    return name in STEERING or name.startswith(STEERING_PREFIX)


def stamp_of(scope: Scope) -> Stamp:
    """The stamp that the edge set."""
    stamp = scope[_STAMP]
    assert isinstance(stamp, Stamp)
    return stamp


def serve_middlewares() -> list[Middleware]:
    """What Ray Serve's HTTP callback returns: this middleware alone."""
    return [Middleware(Edge)]
