"""Places in flight: no tenant, no kind of route and no slow body locks others out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from service.api.auth import Gated
from service.api.places import Places
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.reading import START
from service.feedback.said import FeedbackInput
from service.feedback.store import Page
from service.report import RecorderReport
from service.settings import Limits
from tests.service.api import world as w
from tests.service.api.world import CHAT, World, chat, key, says, world

FEEDBACK = "/v1/feedback"
ACME, GLOBEX, OPERATOR = key("acme"), key("globex"), key(None)
MINE = {"model": "org/Base:1b"}
JUDGED = {"kind": "rating", "target": {"response_id": "chatcmpl-1"}, "value": 1}


class SlowFeedback:
    """Each event waits for a response that never comes."""

    kept = dropped = 0

    def __init__(self) -> None:
        self.waiting = 0

    def keep(self, record: ResponseRecord) -> None: ...

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...]:
        self.waiting += 1
        await asyncio.Event().wait()
        return (Receipt("fb-1", START, duplicate=False),)

    async def page(self, tenant: str, after: str, limit: int) -> Page:
        return Page((), after)

    async def inspect(self) -> RecorderReport | None:
        return None


class Held:
    """Requests that do not end while the block lasts."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[object]] = []

    async def __aenter__(self) -> Held:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def post(self, front: World, path: str, body: object, by: w.Key, *, slowly: bool = False) -> None:
        async def dripping() -> AsyncIterator[bytes]:
            yield json.dumps(body).encode()[:1]
            await asyncio.Event().wait()

        async def send() -> object:
            async with front.client() as client:
                content = dripping() if slowly else json.dumps(body).encode()
                return await client.post(path, content=content, headers=by.header)

        self.tasks.append(asyncio.create_task(send()))
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def front(tmp_path: Path) -> World:
    return world(
        tmp_path,
        lambda request: [w.HANG] if request.tenant == "acme" else says("fine")(request),
        Limits(in_flight=8, deadline_s=30),
        feedback=SlowFeedback(),
        keys=(ACME, GLOBEX, OPERATOR),
    )


async def asks(front: World, by: w.Key) -> int:
    return (await front.post(CHAT, chat(**MINE), headers=by.header)).status_code


async def test_a_tenant_that_floods_leaves_places_to_others(front: World) -> None:
    async with Held() as held:
        for _ in range(12):
            await held.post(front, CHAT, chat(**MINE), ACME)
        assert len(front.engine.requests) == 4, "half of the places"
        assert await asks(front, ACME) == 429
        assert await asks(front, GLOBEX) == 200
        assert await asks(front, OPERATOR) == 200
    front.engine.script = says("free again")
    assert await asks(front, ACME) == 200


async def test_slow_bodies_take_no_place_of_requests_at_work(front: World) -> None:
    front.engine.script = says("fine")
    async with Held() as held:
        for _ in range(12):
            await held.post(front, CHAT, chat(**MINE), ACME, slowly=True)
        assert await asks(front, GLOBEX) == 200
        assert await asks(front, ACME) == 429, "its share of the bodies on their way is taken"
    assert await asks(front, ACME) == 200


async def test_feedback_that_waits_takes_no_place_of_generation(front: World) -> None:
    front.engine.script = says("fine")
    async with Held() as held:
        for _ in range(12):
            await held.post(front, FEEDBACK, JUDGED, ACME)
        assert (await front.post(FEEDBACK, JUDGED, headers=ACME.header)).status_code == 429
        assert (await front.get(FEEDBACK, headers=GLOBEX.header)).status_code == 200
        assert await asks(front, ACME) == 200
        assert (await front.get("/v1/models", headers=ACME.header)).status_code == 200


async def test_without_keys_nobody_else_can_come(tmp_path: Path) -> None:
    front = world(tmp_path, lambda request: [w.HANG], Limits(in_flight=3, deadline_s=30))
    tasks = [asyncio.create_task(front.post(CHAT, chat())) for _ in range(3)]
    async with asyncio.timeout(60):
        while len(front.engine.requests) < 3:
            await asyncio.sleep(0.001)
    assert (await front.post(CHAT, chat())).status_code == 429
    for task in tasks:
        task.cancel()


def test_every_route_behind_a_door_has_places_but_the_scrape(front: World) -> None:
    routes = front.app.routes  # type: ignore[attr-defined]
    without = {
        route.path for route in routes if isinstance(route, Route) and isinstance(route, Gated) and not _places(route)
    }
    assert without == {"/metrics", "/", "/health", "/ready"}


def _places(route: Gated) -> bool:
    app: object = route.app
    while app is not None:
        if isinstance(app, Places):
            return True
        app = getattr(app, "_app", getattr(app, "app", None))
    return False


@pytest.mark.slow
async def test_a_flood_over_real_sockets_leaves_a_neighbour_alone(tmp_path: Path) -> None:
    """1,100 connections whose feedback waits and 1,030 whose bodies do not come, at the limits that are usual."""
    front = world(tmp_path, says("fine"), Limits(), feedback=SlowFeedback(), keys=(ACME, GLOBEX))
    async with front.serving() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        judged, begun = json.dumps(JUDGED).encode(), b'{"model": "x"'

        async def send(path: str, body: bytes, length: int) -> asyncio.StreamWriter:
            _, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {length}\r\nAuthorization: {ACME.header['authorization']}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            return writer

        flood = [await send(FEEDBACK, judged, len(judged)) for _ in range(1100)]
        flood += [await send(CHAT, begun, 1000) for _ in range(1030)]
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for _ in range(20):
                answer = await client.post(CHAT, json=chat(**MINE), headers=GLOBEX.header)
                assert answer.status_code == 200
                judgement = await client.get(FEEDBACK, headers=GLOBEX.header)
                assert judgement.status_code == 200
                await asyncio.sleep(0.5)
            assert (await client.post(CHAT, json=chat(**MINE), headers=ACME.header)).status_code == 429
        for writer in flood:
            writer.close()
