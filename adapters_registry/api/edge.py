"""The middleware around all routes: the request's ids, its path in one spelling, preflights, and one log line."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_registry.api.status import DEFECT, render
from adapters_registry.edge.correlation import OWN_ID, REQUEST_ID, Correlation, correlation
from adapters_registry.edge.cors import preflight_answer
from adapters_registry.edge.headers import coding
from adapters_registry.edge.origins import Origins, is_preflight, refusal
from adapters_registry.edge.paths import canonical
from adapters_registry.errors import OriginRefused, Overloaded, RegistryError, UnsupportedMediaType
from adapters_registry.support.threads import NO_THREAD, is_no_thread

_log = logging.getLogger(__name__)

QUIET = frozenset({"/health", "/openapi.json", "/"})
"""Not logged: probes request them every few seconds."""
OWN_HEAD = ("/v1/uploads/", "/v1/blobs/")
"""Paths below which HEAD is a separate route; elsewhere it is GET without the body."""
ids: ContextVar[dict[str, str] | None] = ContextVar("ids", default=None)
"""Ids of the request that the current task handles."""


class WithIds(logging.Filter):
    """Adds the request's ids to each log line that is written while it is handled."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.__dict__.update(ids.get() or {})
        return True


@dataclass
class _Ended:
    """Status and headers of the answer."""

    status: int | None = None


class Edge:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = Origins.of(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, theirs = time.monotonic(), uuid.uuid4().hex, correlation(scope["headers"])
        ended = _Ended()

        async def send_with_ids(message: Message) -> None:
            if message["type"] == "http.response.start":
                ended.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = theirs.client_request_id or request_id
                headers[OWN_ID] = request_id
            await send(message)

        inner = {**scope, "path": canonical(scope["path"])}
        if scope["method"] == "HEAD" and not inner["path"].startswith(OWN_HEAD):
            inner["method"] = "GET"  # the listener uses its own scope and leaves out the body
        token = ids.set(_ids(request_id, theirs))
        try:
            await self._answer(inner, receive, send_with_ids)
        except Exception as error:
            # The server's default answer to a defect would have neither the ids nor the CORS headers.
            _log.exception("a request failed unexpectedly")
            if ended.status is not None:
                raise
            answer = Overloaded(f"Come back later: {NO_THREAD}.") if is_no_thread(error) else RegistryError(DEFECT)
            await render(answer)(inner, receive, send_with_ids)
        finally:
            if inner["path"] not in QUIET:
                _log.info(
                    "request", extra=_line(scope["method"], inner, ended.status or 500, time.monotonic() - began)
                )
            ids.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope)
        if refused is not None:
            await render(refused)(scope, receive, send)
        elif is_preflight(scope["method"], scope["headers"]):
            answer = preflight_answer(self._origins, scope["headers"])
            await (answer or render(OriginRefused(refusal(scope["headers"]))))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> RegistryError | None:
        compressed = coding(scope["headers"])
        if compressed is None:
            return None
        return UnsupportedMediaType(
            f"The body's Content-Encoding is {compressed!r}: send it as it is, without that header.",
            param="Content-Encoding",
        )


def _ids(request_id: str, theirs: Correlation) -> dict[str, str]:
    return {"request_id": request_id} | theirs.fields()


def _line(method: str, scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    """Logs the route's template instead of the path: a bounded set of values."""
    route = getattr(scope.get("route"), "path", None)
    found = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
    return {name: value for name, value in found.items() if value is not None}
