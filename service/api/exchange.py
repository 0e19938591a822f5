"""One HTTP request and what is known of it so far; stored in the ASGI scope."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.types import Scope

from service.access.keyring import Caller
from service.api.job import Job, Served, Usage

_KEY = "quickchange.exchange"


@dataclass
class Exchange:
    """Created by the guard and filled step by step; the access log is written from it at the end."""

    request_id: str
    method: str
    client_request_id: str | None = None
    """The id that the client or its proxy gave the request, if it may be logged."""
    traceparent: str | None = None
    arrived: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """On the event loop's clock, in seconds: deadlines count from it."""
    caller: Caller | None = None
    """The authenticated caller."""
    served: Served | None = None
    """The weights of the request's model."""
    job: Job | None = None
    usage: Usage | None = None
    """Tokens of the job, once it has ended in any way."""
    error: str | None = None
    """The error's code, also if it was sent inside a stream."""
    reason: str | None = None
    """Why the key was refused, in more detail than the code: from a bounded set, and never sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with any answer."""


def attach(scope: Scope, exchange: Exchange) -> None:
    scope[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of the request with this ``scope``; attached by the guard."""
    exchange = scope[_KEY]
    assert isinstance(exchange, Exchange)
    return exchange
