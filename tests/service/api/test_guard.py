"""The guard and the edge: bounds on a request before a route sees it, its id, its log line."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from service.api.edge import Edge
from service.api.guard import Guard
from service.errors import Overloaded
from service.metrics import GatewayMetrics
from service.settings import Limits, MetricsOptions
from tests.service.api import world as w
from tests.service.api.world import CHAT, chat, encode, plays, says, world


async def test_a_body_over_the_cap_by_its_length(tmp_path: Path) -> None:
    front = world(tmp_path, says("never"), Limits(body_bytes=100))
    response = await front.post(CHAT, b"x" * 101)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert response.headers["connection"] == "close"


async def test_a_body_over_the_cap_as_it_comes(tmp_path: Path) -> None:
    front = world(tmp_path, says("never"), Limits(body_bytes=100))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 40
            yield b"x" * 40

    async with front.client() as client:
        response = await client.post(CHAT, content=endless(), headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert sent < 2000


async def test_headers_over_the_cap(tmp_path: Path) -> None:
    front = world(tmp_path, says("never"), Limits(header_bytes=1000))
    response = await front.post(CHAT, chat(), headers={"x-long": "y" * 1000})
    assert response.status_code == 431
    assert response.json()["error"]["code"] == "headers_too_large"
    assert (await front.get("/v1/models?" + "y" * 1000)).status_code == 431


async def test_a_body_that_does_not_come() -> None:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    metrics = GatewayMetrics(CollectorRegistry(), MetricsOptions())
    around = [Middleware(Edge), Middleware(Guard, limits=Limits(), metrics=metrics, body_read_s=0.02)]
    app = Starlette(routes=[Route("/", read, methods=["POST"])], middleware=around)
    sent: list[Message] = []

    async def stuck() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "raw_path": b"/"}
    await app(scope, stuck, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"


async def test_more_in_flight_than_the_limit(tmp_path: Path) -> None:
    front = world(tmp_path, lambda request: [w.HANG], Limits(in_flight=2, deadline_s=30))
    tasks = [asyncio.create_task(front.post(CHAT, chat())) for _ in range(2)]
    while len(front.engine.requests) < 2:
        await asyncio.sleep(0.001)
    response = await front.post(CHAT, chat())
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "overloaded"
    assert response.headers["retry-after"] == "1"
    assert (await front.get("/health")).status_code == 200
    assert (await front.get("/ready")).status_code == 200
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    front.engine.script = says("free again")
    assert (await front.post(CHAT, chat())).status_code == 200


async def test_each_request_leaves_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="service.api.access_log")
    front = world(tmp_path, says("hello world"))
    answered = [
        await front.post(CHAT, chat()),
        await front.post(CHAT, chat(stream=True)),
        await front.post(CHAT, chat(model="no/such")),
        await front.get("/v1/models/acme/support"),
        await front.get("/nowhere"),
        await front.post(CHAT, chat(), headers={"content-encoding": "gzip"}),
    ]
    for probe in ("/health", "/ready"):  # anybody may send these, as often as they like
        assert (await front.get(probe)).status_code == 200
    lines = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert [line["request_id"] for line in lines] == [response.headers["x-request-id"] for response in answered]
    assert [line["status"] for line in lines] == [200, 200, 404, 200, 404, 415]
    routes = [CHAT, CHAT, CHAT, "/v1/models/{id:path}"]
    assert [line.get("route") for line in lines] == [*routes, None, None]
    for line in lines[:2]:
        assert line["model"] == "acme/support@3"
        assert line["digest"] == w.version(3).digest
        assert line["completion_tokens"] == len(encode("hello world"))
        assert line["prompt_tokens"] > 0
        assert line["seconds"] >= 0
    assert lines[2]["error"] == "model_not_found"
    assert lines[4]["error"] == "not_found"


async def test_an_error_inside_a_stream_is_in_the_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="service.api.access_log")
    front = world(tmp_path, lambda r: [*plays(encode("hello"))(r)[:1], Overloaded("x")])
    await front.post(CHAT, chat(stream=True))
    [line] = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert (line["status"], line["error"]) == (200, "overloaded")


async def test_a_thread_that_cannot_be_started_is_told_as_overload() -> None:
    """What CPython raises, from within a request; its cause is the machine's limit and not a defect."""

    async def fails(request: Request) -> PlainTextResponse:
        raise RuntimeError("can't start new thread")

    metrics = GatewayMetrics(CollectorRegistry(), MetricsOptions())
    around = [Middleware(Edge), Middleware(Guard, limits=Limits(), metrics=metrics)]
    app = Starlette(routes=[Route("/", fails)], middleware=around)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert "starts no further thread" in answer.json()["error"]["message"]
