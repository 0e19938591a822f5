"""The outermost middleware: refuses headers that would steer the server behind it, and stamps the request's id.

Ray Serve reads some request headers before any application code does, and puts an ``x-request-id`` of its own
into requests that have none, so that inside Serve a client's id cannot be told from Serve's. Under Serve this
middleware must therefore also run in front of Serve's own: ``serve_middlewares`` is the function to name in
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``. The second time a request meets it, it does nothing.
"""

from __future__ import annotations

import uuid

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.record import Record, log_request
from service.api.status import error_response
from service.errors import UnknownParameter

REQUEST_ID = "x-request-id"

_STAMP = "quickchange.request_id"
"""In the ASGI scope, where no client can put it."""

REFUSED = frozenset(
    {
        REQUEST_ID,
        "serve-multiplexed-model-id",  # chooses a replica
        "x-session-id",  # chooses a replica
        "x-request-timeout-seconds",  # ≤ 0 switches the timeout off
        "x-request-disconnect-disabled",  # a disconnect would cancel nothing
    }
)
"""Lower case, with hyphens; proxies and Serve take underscores for the same."""
REFUSED_PREFIX = "x-serve-router-"


class Edge:
    """Pure ASGI, so that it holds neither bodies nor streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _STAMP in scope:
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Serve's own middleware, where there is one, has already answered with the id stamped below.
                MutableHeaders(scope=message).setdefault(REQUEST_ID, request_id)
            await send(message)

        refused = _refused(scope)
        if refused is not None:
            error = UnknownParameter(
                f"the header {refused!r} is not accepted from clients: leave it out", param=refused
            )
            response = error_response(error)
            await response(scope, receive, send_with_id)
            record = Record(request_id, scope["method"], status=response.status_code, error=error.code)
            log_request(record)
            return
        stamped = [*scope["headers"], (REQUEST_ID.encode(), request_id.encode())]
        await self._app({**scope, "headers": stamped, _STAMP: request_id}, receive, send_with_id)


def _refused(scope: Scope) -> str | None:
    for raw, _ in scope["headers"]:
        name = raw.decode("latin-1").lower().replace("_", "-")
        if name in REFUSED or name.startswith(REFUSED_PREFIX):
            return name
    return None


def stamp_of(scope: Scope) -> str:
    """The id that the request was given at the edge."""
    stamp = scope[_STAMP]
    assert isinstance(stamp, str)
    return stamp


def serve_middlewares() -> list[Middleware]:
    """What Ray Serve's HTTP callback returns: this middleware alone."""
    return [Middleware(Edge)]
