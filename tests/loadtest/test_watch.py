"""What can be seen of a service from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from loadtest.client import Client, connected
from loadtest.watch import Watch
from tests.loadtest.server import Server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, time.perf_counter, salt="s") as client:
        yield client


async def test_running_requests_are_read_from_the_metrics(server: Server, client: Client) -> None:
    server.running = 3
    assert await Watch(client, None).running() == 3
    server.exposed = False
    assert await Watch(client, None).running() is None


async def test_settling_lasts_until_nothing_runs(server: Server, client: Client) -> None:
    server.running = 1
    waiting = asyncio.create_task(Watch(client, None).settled_s(30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    server.running = 0
    settled_s = await waiting
    assert settled_s is not None
    assert 0 < settled_s < 30


async def test_what_never_settles_took_longer_than_the_limit(server: Server, client: Client) -> None:
    server.running = 1
    settled_s = await Watch(client, None).settled_s(0.2)
    assert settled_s is not None
    assert settled_s > 0.2
    server.exposed = False
    assert await Watch(client, None).settled_s(0.2) is None


async def test_looks_hold_memory_and_running(server: Server, client: Client) -> None:
    watch = Watch(client, lambda: 5 << 20)
    following = asyncio.create_task(watch.follow())
    while not watch.looks:
        await asyncio.sleep(0.01)
    following.cancel()
    assert (watch.looks[0].memory_bytes, watch.looks[0].running) == (5 << 20, 0)
