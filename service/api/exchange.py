"""One HTTP request and what is known of it so far; it travels in the ASGI scope."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.types import Scope

from service.access.keyring import Caller
from service.api.job import Job, Served, Usage

_KEY = "quickchange.exchange"


@dataclass
class Exchange:
    """Made by the guard; each step adds what it found out, and the access log is written from it at the end."""

    request_id: str
    method: str
    client_request_id: str | None = None
    """The id that the client or its proxy gave the request, where it came in a form fit for a log."""
    traceparent: str | None = None
    arrived: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """On the event loop's clock, in seconds: deadlines count from it."""
    caller: Caller | None = None
    """Whom the door let in."""
    served: Served | None = None
    """The weights that the request's model means."""
    job: Job | None = None
    usage: Usage | None = None
    """Of the job, once it has ended, however it did."""
    error: str | None = None
    """The error's code, also of one that was sent inside a stream."""
    reason: str | None = None
    """What of the key refused the request, finer than the code: of a bounded set, and never sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with the answer, whatever it is."""


def attach(scope: Scope, exchange: Exchange) -> None:
    scope[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """Of the request that ``scope`` belongs to; the guard attached it."""
    exchange = scope[_KEY]
    assert isinstance(exchange, Exchange)
    return exchange
