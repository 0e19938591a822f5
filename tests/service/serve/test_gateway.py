"""The listener of the direct ingress, as far as it can be had without Serve."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from ray.serve.config import HTTPOptions
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters_registry.edge.bounds import ConnectionLimits, bounds
from adapters_registry.edge.connections import Reason
from adapters_registry.edge.fresh import Fresh
from adapters_registry.edge.listener import Listener
from service.errors import InvalidValue
from service.serve.gateway import Gateway
from service.serve.listener import start_http


@contextlib.asynccontextmanager
async def started(app: ASGIApp, listener: Listener) -> AsyncIterator[int]:
    options = HTTPOptions(host="127.0.0.1", port=0)
    loop = asyncio.get_running_loop()
    task, server = await start_http("127.0.0.1", listener, app, options, event_loop=loop)
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def test_it_listens_where_the_application_was_told_or_not_at_all() -> None:
    """The application decides by its address whether anybody needs a key."""
    loop, listener = asyncio.get_running_loop(), Listener(bounds(ConnectionLimits(), 16384))
    elsewhere = HTTPOptions(host="0.0.0.0", port=0)
    with pytest.raises(InvalidValue, match=r"0\.0\.0\.0.*QUICKCHANGE_HOST is 127\.0\.0\.1"):
        await start_http("127.0.0.1", listener, Starlette(), elsewhere, event_loop=loop)
    async with started(Starlette(), listener) as port, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 404


async def test_serve_sees_no_header_that_it_would_obey_and_no_head_without_end() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await Starlette()(scope, receive, send)

    listener = Listener(bounds(ConnectionLimits(), 16384))
    async with started(serve, listener) as port, httpx.AsyncClient(trust_env=False) as client:
        steering = {"x-request-id": "mine", "x-session-id": "s", "X-Request-Timeout-Seconds": "-1"}
        answer = await client.get(f"http://127.0.0.1:{port}/", headers=steering)
        assert answer.headers["x-request-id"] == "mine"
        assert seen[0][b"x-request-id"].decode() == answer.headers["x-quickchange-request-id"]
        assert {b"x-session-id", b"x-request-timeout-seconds"}.isdisjoint(seen[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()
        assert len(seen) == 1
        assert listener.report().refused == {Reason.HEADERS_TOO_LARGE: 1}


class Engine:
    """Says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.describe = self

    async def remote(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)


class Dispatching:
    refusing = False


async def test_readiness_is_asked_once_for_all_and_a_drain_is_seen_at_once() -> None:
    engine, dispatcher = Engine(), Dispatching()
    gateway: Any = SimpleNamespace(_engine=engine, _dispatcher=dispatcher)
    gateway._answering = Fresh(partial(Gateway._answers, gateway), 60.0)
    assert await asyncio.gather(*(Gateway.ready(gateway) for _ in range(64))) == [True] * 64
    assert await Gateway.ready(gateway)
    assert engine.asked == 1
    dispatcher.refusing = True
    assert not await Gateway.ready(gateway)
