"""ASGI middleware that sends browsers the CORS headers of ``origins.py``."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_registry.edge.headers import Headers
from adapters_registry.edge.origins import Origins


class Cors:
    """Pure ASGI around a whole application: adds CORS headers to all answers, including errors."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = Origins.of(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins.listed:
            await self._app(scope, receive, send)
            return
        granted = self._origins.granted(scope["headers"])

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(granted)
                headers.add_vary_header("Origin")  # a shared cache must not give one page's answer to another
            await send(message)

        await self._app(scope, receive, send_granted)


def preflight_answer(origins: Origins, headers: Headers) -> Response | None:
    """The answer to a preflight; None if its page may not send requests."""
    if not origins.granted(headers):
        return None
    return Response(status_code=204, headers=origins.preflight(headers))
