"""Answers browsers' preflights before any route, because they have no key."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters_registry.edge.cors import preflight_answer
from adapters_registry.edge.origins import Origins, is_preflight, refusal
from service.errors import OriginRefused


class Preflights:
    """Pure ASGI, inside the guard, which logs and counts them."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = Origins.of(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_preflight(scope["method"], scope["headers"]):
            await self._app(scope, receive, send)
            return
        answer = preflight_answer(self._origins, scope["headers"])
        if answer is None:
            raise OriginRefused(refusal(scope["headers"]))
        await answer(scope, receive, send)
