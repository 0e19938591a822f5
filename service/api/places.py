"""Places for requests, shared by tenants: one for an arriving body, then one for a request in flight.

The two are separate, so that a slowly arriving body does not occupy a place of a running request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_registry.edge.shares import Shares
from service.access.keyring import Caller
from service.api.auth import caller_of
from service.errors import Overloaded
from service.settings import Limits

RETRY_S = 1.0


class Room:
    """The places of one kind of route, so that requests of another kind cannot take them."""

    def __init__(self, limits: Limits) -> None:
        self._arriving = Shares(limits.in_flight, limits.tenant_share)
        self._running = Shares(limits.in_flight, limits.tenant_share)

    @property
    def taken(self) -> int:
        return self._arriving.used + self._running.used

    @contextmanager
    def enter(self, caller: Caller, *, body: bool) -> Iterator[Place]:
        """A place among the arriving bodies if the request has a ``body``. Raises ``Overloaded``."""
        place = Place(caller, self._arriving if body else self._running, self._running)
        try:
            yield place
        finally:
            place.leave()


class Place:
    """The place of one request; it moves once, when the body is complete."""

    def __init__(self, caller: Caller, first: Shares, last: Shares) -> None:
        self._who = caller.account
        self._alone = caller.principal.is_only_caller
        self._last = last
        self._in: Shares | None = None
        self._take(first)

    def body_is_here(self) -> None:
        """Raises ``Overloaded``."""
        if self._in is not self._last:
            self.leave()
            self._take(self._last)

    def leave(self) -> None:
        if self._in is not None:
            self._in.give_back(self._who)
            self._in = None

    def _take(self, shares: Shares) -> None:
        if not shares.take(self._who, alone=self._alone):
            raise Overloaded(
                f"too many requests are in flight already, {shares.held(self._who)} of them this tenant's: "
                "retry later",
                retry_after_s=RETRY_S,
            )
        self._in = shares


class Places:
    """Pure ASGI inside the scope check, so that a place is held until the answer has ended."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._room.enter(caller_of(scope), body=scope["method"] == "POST") as place:

            async def receive_noting() -> Message:
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    place.body_is_here()
                return message

            await self._app(scope, receive_noting, send)
