"""What tenants share: one that holds all it can get leaves uploads, checks, reads and long-polls to others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.access import Scope
from adapters_registry.api.app import create_app
from adapters_registry.api.uploads import patience
from adapters_registry.edge.shares import Shares
from adapters_registry.feed import Feed
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits
from tests.adapters_registry.api.world import World, bearer, plane_of
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.conftest import serving
from tests.waiting import until

DATA = b"0123456789" * 20
AT = f"/v1/uploads/{sha256(DATA)}"
WRITE = (Scope.ADAPTER_READ, Scope.ADAPTER_WRITE)
HASTY = {"patience_s": 0.1, "uploads": 4, "validations": 2, "long_reads": 2, "watchers": 4}


@asynccontextmanager
async def held(shares: Shares, *requests: Any) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """Requests that run while the block lasts, and begin when they have places of ``shares``."""
    tasks = [asyncio.create_task(request) for request in requests]
    await until(lambda: shares.used)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def endless() -> AsyncIterator[bytes]:
    yield DATA[:1]
    await asyncio.Event().wait()


@pytest.mark.parametrize("app", [HASTY], indirect=True)
async def test_slow_uploads_of_one_tenant_leave_places_to_others(
    http: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    mine, theirs = (bearer(world.keys.create(name, "k", WRITE)) for name in ("acme", "globex"))
    slow = [http.put(f"/v1/uploads/{sha256(b'%d' % n)}", content=endless(), headers=mine) for n in range(6)]
    async with held(plane_of(app).receiving.shares, *slow) as tasks:
        await until(lambda: sum(task.done() for task in tasks) == 4)  # those beyond the share are refused
        assert (await http.put(AT, content=DATA, headers=theirs)).status_code == 201
        assert (await http.put(AT, content=DATA, headers=bearer(world.operator))).status_code == 201
        refused = await http.put(AT, content=DATA, headers=mine)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "2 of them the tenant's own" in refused.text


@pytest.mark.parametrize("app", [{"idle_s": 1.0, "slowest_bytes_per_s": 1_000_000}], indirect=True)
async def test_a_sender_that_drips_is_parked_and_may_go_on(http: httpx.AsyncClient) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        for byte in DATA:
            yield bytes([byte])
            await asyncio.sleep(0.02)

    answer = await http.put(f"{AT}?tenant=acme", content=dripping())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "upload_timeout")
    offset = (await http.head(f"{AT}?tenant=acme")).headers["upload-offset"]
    assert 0 < int(offset) < len(DATA)


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0, 60)), max_size=50), st.integers(1, 1 << 16))
def test_whoever_sends_fast_enough_is_waited_for(chunks: list[tuple[int, float]], rate: int) -> None:
    """All in all nobody keeps us longer than its bytes at the slowest rate, and one pause."""
    limits = Limits(slowest_bytes_per_s=rate, idle_s=60)
    received, waited_s = 0, 0.0
    for size, took_s in chunks:
        left_s = patience(received, waited_s, limits)
        assert left_s <= 60
        if took_s > left_s:
            assert took_s > 60 or waited_s + took_s > 60 + received / rate
            return
        received, waited_s = received + size, waited_s + took_s
        assert waited_s <= 60 + received / rate


@pytest.mark.parametrize("app", [HASTY], indirect=True)
async def test_slow_checks_of_one_tenant_leave_one_to_others(
    http: httpx.AsyncClient, app: FastAPI, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, plane = threading.Event(), plane_of(app)
    publish = plane.registry.publish

    def slow(tenant: str, *rest: Any, **more: Any) -> Any:
        if tenant == "acme":
            may.wait()
        return publish(tenant, *rest, **more)

    monkeypatch.setattr(plane.registry, "publish", slow)
    mine, theirs = (bearer(world.keys.create(name, "k", WRITE)) for name in ("acme", "globex"))
    commits = [
        http.post(f"/v1/adapters/acme/a{n}/versions", json={"files": world.files}, headers=mine) for n in "123"
    ]
    async with held(plane.validations.shares, *commits):
        answer = await http.post("/v1/adapters/globex/a/versions", json={"files": world.files}, headers=theirs)
        assert answer.json()["error"]["code"] == "blob_missing", "it was looked at"
        may.set()


@pytest.mark.parametrize("app", [HASTY], indirect=True)
async def test_short_reads_do_not_wait_behind_long_ones(
    http: httpx.AsyncClient, app: FastAPI, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, plane = threading.Event(), plane_of(app)
    monkeypatch.setattr(plane.registry, "snapshot", may.wait)
    gateway = bearer(world.keys.create(None, "gateway", [Scope.SERVE]))
    async with held(plane.long_reads.shares, *(http.get("/v1/snapshot", headers=gateway) for _ in range(60))):
        try:
            assert (await http.get("/health")).status_code == 200
            adapter = await http.get("/v1/adapters/acme/support", headers=bearer(world.operator))
            assert adapter.status_code == 200
            audit = await http.get("/v1/audit", headers=bearer(world.operator))
            assert audit.status_code == 200, "another key's long read has its place"
            assert (await http.get("/v1/snapshot", headers=gateway)).status_code == 429
        finally:
            may.set()


@pytest.mark.parametrize("app", [HASTY], indirect=True)
async def test_long_polls_of_one_key_leave_places_to_others(
    http: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    one, other = (bearer(world.keys.create(None, name, [Scope.SERVE])) for name in ("one", "other"))
    seq = (await http.get("/v1/snapshot", headers=one)).json()["seq"]
    watch = {"since": seq, "wait_s": 50}
    shares = plane_of(app).watchers
    async with held(shares, *(http.get("/v1/changes", params=watch, headers=one) for _ in range(3))) as watching:
        await until(lambda: sum(task.done() for task in watching) == 1)
        refused = await http.get("/v1/changes", params=watch, headers=one)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        answer = await http.get("/v1/changes", params=watch | {"wait_s": 0}, headers=other)
        assert answer.json()["seq"] == seq


@pytest.mark.slow
async def test_sixteen_uploads_of_a_byte_every_twenty_seconds(registry: Registry, feed: Feed, world: World) -> None:
    """At the limits that are usual: others push meanwhile, and the slow ones are parked in the end."""
    mine, theirs = (bearer(world.keys.create(name, "k", WRITE)) for name in ("acme", "globex"))

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(20)

    app = create_app(registry, feed, Limits())
    with serving(app) as url:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=url, timeout=200, limits=limits) as http:
            paths = [f"/v1/uploads/{sha256(b'%d' % number)}" for number in range(16)]
            shares = plane_of(app).receiving.shares
            async with held(shares, *(http.put(path, content=dripping(), headers=mine) for path in paths)) as slow:
                for number in range(7):
                    data = b"%d" % number * 1000
                    put = await http.put(f"/v1/uploads/{sha256(data)}", content=data, headers=theirs)
                    assert put.status_code == 201
                    await asyncio.sleep(10)
                    assert shares.held("acme") <= 8
                # Who goes on sending after its refusal may lose the answer with the connection.
                answers = await asyncio.gather(*slow, return_exceptions=True)
    assert {answer.status_code for answer in answers if isinstance(answer, httpx.Response)} <= {408, 429}
    assert shares.used == 0
