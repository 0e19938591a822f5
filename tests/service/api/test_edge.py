"""What ordinary clients, meshes and ingresses send beside a request, and how its path may be spelt."""

from __future__ import annotations

import gzip
import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.edge import STEERING, Edge, serve_middlewares
from service.errors import DeadlineExceeded
from tests.service.api.world import BASE_NAME, CHAT, chat, says, world

MINE = "6f1c0c3e9d0a4a55b2b7c1d2e3f4a5b6"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STEERING_AS_SENT = [
    "serve_multiplexed_model_id", "Serve-Multiplexed-Model-Id", "x-session-id", "X_Session_Id", "x-request-id",
    "X-Request-ID", "X-Request-Timeout-Seconds", "x_request_timeout_seconds", "x-request-disconnect-disabled",
    "x-serve-router-pick",
]  # fmt: skip


class Server:
    """As Ray Serve is: it reads headers, adds an id to requests without one, and answers with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = dict(scope["headers"])
        seen.setdefault(b"x-request-id", b"the server's")
        self.headers.append(seen)

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", seen[b"x-request-id"])]
            await send(message)

        await self._app(dict(scope, headers=list(seen.items())), receive, answering)


@pytest.mark.parametrize("name", STEERING_AS_SENT)
async def test_steering_headers_are_taken_off_and_the_request_is_served(tmp_path: Path, name: str) -> None:
    front = world(tmp_path, says("fine"))
    server = Server(front.app)
    front.app = Edge(server)
    assert (await front.post(CHAT, chat(), headers={name: "-1"})).status_code == 200
    [seen] = server.headers
    left = {header.decode().lower().replace("_", "-") for header in seen} & STEERING
    assert left == {"x-request-id"}
    assert re.fullmatch(b"[0-9a-f]{32}", seen[b"x-request-id"])
    assert not any(header.startswith(b"x-serve-router-") for header in seen)


@pytest.mark.parametrize("sent", [{}, {"x-request-id": MINE}])
async def test_behind_a_server_that_stamps_requests_itself(tmp_path: Path, sent: dict[str, str]) -> None:
    front = world(tmp_path, says("fine"))
    server = Server(front.app)
    [edge] = serve_middlewares()
    front.app = edge.cls(server, *edge.args, **edge.kwargs)
    response = await front.post(CHAT, chat(), headers=sent)
    ours = front.engine.requests[0].request_id
    assert server.headers[0][b"x-request-id"].decode() == ours
    assert response.headers.get_list("x-request-id") == [sent.get("x-request-id", ours)]
    assert response.headers.get_list("x-quickchange-request-id") == [ours]


async def test_a_client_s_id_is_logged_and_echoed_and_ours_goes_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="service.api.access_log")
    front = world(tmp_path, says("fine"))
    ids = {"X-Request-ID": MINE, "traceparent": TRACE}
    answers = [
        await front.post(CHAT, chat(), headers=ids),
        await front.get("/v1/models", headers=ids),
        await front.get("/ready", headers=ids),
        await front.get("/nowhere", headers=ids),
        await front.post(CHAT, b"{", headers=ids),
    ]
    lines = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert len(lines) == len(answers)
    for answer, line in zip(answers, lines, strict=True):
        ours = answer.headers["x-quickchange-request-id"]
        assert answer.headers["x-request-id"] == MINE
        assert (line["request_id"], line["client_request_id"], line["traceparent"]) == (ours, MINE, TRACE)
    assert answers[0].json()["id"] == f"chatcmpl-{answers[0].headers['x-quickchange-request-id']}"


@pytest.mark.parametrize("bad", [b"", b"a" * 129, b"two words", b"caf\xc3\xa9", b"\xff", b"tab\there"])
async def test_an_id_that_is_none_is_neither_logged_nor_echoed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: bytes
) -> None:
    caplog.set_level(logging.DEBUG, logger="service.api.access_log")
    async with world(tmp_path, says("fine")).client() as client:
        answer = await client.get("/health", headers=[(b"x-request-id", bad), (b"traceparent", bad)])
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == answer.headers["x-quickchange-request-id"]
    [line] = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert {"client_request_id", "traceparent"}.isdisjoint(line)


async def test_other_headers_pass(tmp_path: Path) -> None:
    headers = {
        "x-stainless-retry-count": "0",
        "authorization": "Bearer any",
        "openai-organization": "o",
        "idempotency-key": "k",
        "x-session-affinity": "ses_1",
    }
    assert (await world(tmp_path, says("fine")).post(CHAT, chat(), headers=headers)).status_code == 200


@pytest.mark.parametrize("path", [f"{CHAT}/", f"/{CHAT}", "/v1//chat///completions//"])
async def test_a_slash_too_many(tmp_path: Path, path: str) -> None:
    async with world(tmp_path, says("fine")).client() as client:
        answer = await client.post(httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode()), json=chat())
        assert answer.status_code == 200
        for listed in ("/v1/models/", "//v1/models"):
            found = await client.get(httpx.URL("http://127.0.0.1").copy_with(raw_path=listed.encode()))
            assert found.json()["object"] == "list"


async def test_the_root_answers_and_head_is_get_without_a_body(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"))
    async with front.client() as client:
        for path in ("/", "/health", "/ready", "/v1/models", f"/v1/models/{BASE_NAME}", "/metrics"):
            assert ((await client.get(path)).status_code, (await client.head(path)).status_code) == (200, 200), path
    assert (await front.get("/")).json()["api"] == "/v1"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "zstd"])
async def test_a_compressed_body_is_refused_with_what_to_do(tmp_path: Path, coding: str) -> None:
    body = gzip.compress(json.dumps(chat()).encode())
    answer = await world(tmp_path, says("x")).post(CHAT, body, headers={"content-encoding": coding})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    assert "uncompressed" in answer.json()["error"]["message"]
    same = await world(tmp_path, says("x")).post(CHAT, chat(), headers={"content-encoding": "identity"})
    assert same.status_code == 200


@pytest.mark.parametrize("model", ["GPT-4", "gpt-4", "meta-llama/Llama-3.1-8B", "a b", "é", "a/b/c", "x@@y", "../x"])
async def test_an_unknown_model_is_a_404_whatever_its_letters(tmp_path: Path, model: str) -> None:
    answer = await world(tmp_path, says("x")).post(CHAT, chat(model=model))
    assert answer.status_code == 404
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("model_not_found", "model")


async def test_a_request_that_ran_out_of_time_is_not_to_be_sent_again(tmp_path: Path) -> None:
    answer = await world(tmp_path, lambda request: [DeadlineExceeded("late")]).post(CHAT, chat())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")


PREFLIGHT = {
    "Origin": "http://localhost:5173",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def test_a_page_on_the_list_may_ask_and_read(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"), cors_origins=("http://localhost:5173",))
    async with front.client() as client:
        told = await client.options(CHAT, headers=PREFLIGHT)
        assert told.status_code == 204
        assert told.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert "POST" in told.headers["access-control-allow-methods"]
        assert told.headers["access-control-allow-headers"] == "authorization,content-type"
        assert told.headers["vary"] == "Origin"
        for body, status in ((chat(), 200), (chat(model="no"), 404), (b"x" * (3 << 20), 413)):
            answer = await front.post(CHAT, body, headers={"origin": "http://localhost:5173"})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
            assert "x-adapter" in answer.headers["access-control-expose-headers"]
        other = await client.options(CHAT, headers=PREFLIGHT | {"Origin": "http://localhost:5174"})
        assert (other.status_code, other.json()["error"]["code"]) == (403, "origin_refused")
        assert "access-control-allow-origin" not in other.headers


async def test_without_a_list_no_page_may_ask(tmp_path: Path) -> None:
    async with world(tmp_path, says("x")).client() as client:
        answer = await client.options(CHAT, headers=PREFLIGHT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
        assert "cors_origins" in answer.json()["error"]["message"]
        assert (await client.options(CHAT)).status_code == 405


async def test_what_is_refused_at_the_edge_is_counted(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"))
    async with front.client() as client:
        await client.options(CHAT, headers=PREFLIGHT)
        await front.post(CHAT, b"x" * (3 << 20))
        await front.post(CHAT, chat(), headers={"content-encoding": "gzip"})
        await front.get("/v1/models", headers={"host": "evil.example"})
        await front.get("/v1/models", headers={"x-long": "y" * (17 << 10)})
        series = generate_latest(front.metrics.registry).decode()
    for code in (
        "origin_refused",
        "body_too_large",
        "unsupported_media_type",
        "keyless_refused",
        "headers_too_large",
    ):
        assert f'quickchange_request_errors_total{{code="{code}"}} 1.0' in series
    assert 'quickchange_key_refusals_total{reason="keyless"} 1.0' in series
