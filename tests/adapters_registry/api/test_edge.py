"""What ordinary clients and proxies send beside a request to the registry, and what pages and proxies may not."""

from __future__ import annotations

import asyncio
import gzip
import logging

import httpx
import pytest

from adapters_registry.api.app import create_app
from adapters_registry.api.routes import operations
from adapters_registry.feed import Feed
from tests.adapters_registry.artifacts import sha256
from tests.adapters_registry.conftest import LIMITS

MINE = "6f1c0c3e9d0a4a55b2b7c1d2e3f4a5b6"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DATA = b"weights" * 100
PAGE = "http://localhost:5173"


async def test_a_client_s_id_is_logged_and_echoed(http, caplog):
    caplog.set_level(logging.INFO, logger="adapters_registry.api.edge")
    ids = {"X-Request-ID": MINE, "traceparent": TRACE, "x-session-id": "s"}
    for path, status in (("/v1/adapters", 200), ("/v1/adapters/a/b", 404), ("/nowhere", 404)):
        answer = await http.get(path, headers=ids)
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, MINE)
        line = caplog.records[-1]
        assert (line.message, line.status) == ("request", status)
    own = await http.get("/v1/adapters")
    assert own.headers["x-request-id"] == own.headers["x-quickchange-request-id"]


async def test_probes_leave_no_line(http, caplog):
    caplog.set_level(logging.INFO, logger="adapters_registry.api.edge")
    for path in ("/health", "/openapi.json", "/"):
        assert (await http.get(path)).status_code == 200
    assert [record for record in caplog.records if record.message == "request"] == []


@pytest.mark.parametrize("path", ["/v1/adapters/", "//v1//adapters", "/health/", "//"])
async def test_a_slash_too_many(http, path):
    url = httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode())
    assert (await http.get(url)).status_code == 200


async def test_head_is_get_without_reading_a_blob(http):
    await http.put(f"/v1/uploads/{sha256(DATA)}?tenant=acme", content=DATA)
    for path in ("/", "/health", "/openapi.json", "/v1/adapters", "/v1/keys"):
        assert (await http.head(path)).status_code == 200, path
    found = await http.head(f"/v1/blobs/{sha256(DATA)}")
    assert (found.status_code, found.headers["content-length"], found.content) == (200, str(len(DATA)), b"")
    assert (await http.head(f"/v1/blobs/{sha256(b'none')}")).status_code == 404


async def test_a_compressed_body(http):
    body, headers = gzip.compress(DATA), {"content-encoding": "gzip"}
    for answer in (
        await http.put(f"/v1/uploads/{sha256(DATA)}?tenant=acme", content=body, headers=headers),
        await http.post("/v1/gc", content=body, headers=headers | {"content-type": "application/json"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_the_description_is_made_once(http, monkeypatch):
    made: list[object] = []
    monkeypatch.setattr(operations, "describe", lambda app: made.append(app) or {"openapi": "3.1.0"})
    answers = await asyncio.gather(*(http.get("/openapi.json") for _ in range(8)))
    assert [answer.json() for answer in answers] == [{"openapi": "3.1.0"}] * 8
    assert len(made) == 1


STRANGE = {
    "a rebound name": {"host": "evil.example"},
    "a page": {"origin": "http://evil.example"},
    "a form": {"content-type": "text/plain"},
    "a proxy": {"x-forwarded-for": "203.0.113.9"},
}


@pytest.mark.parametrize("who", STRANGE)
async def test_nobody_without_a_key_makes_the_first_one_from_elsewhere(http, who):
    body = b'{"name": "x", "scopes": ["admin"]}'
    headers = {"content-type": "application/json"} | STRANGE[who]
    answer = await http.post("/v1/keys", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "keyless_refused")
    assert "quickchange keys create" in answer.json()["error"]["message"]
    assert (await http.get("/v1/keys")).json()["keys"] == []
    if who != "a form":
        listed = await http.get("/v1/adapters", headers=STRANGE[who])
        assert (listed.status_code, listed.json()["error"]["code"]) == (403, "keyless_refused")
        assert (await http.get("/health", headers=STRANGE[who])).status_code == 200


@pytest.mark.parametrize("who", STRANGE)
async def test_with_a_key_they_are_served(http, world, who):
    headers = {"authorization": f"Bearer {world.operator.key}"} | STRANGE[who]
    assert (await http.get("/v1/adapters", headers=headers)).status_code == 200
    body = b'{"name": "x", "scopes": ["admin"]}'
    headers = {"content-type": "application/json"} | headers
    assert (await http.post("/v1/keys", content=body, headers=headers)).status_code == 201
    no_key = await http.get("/v1/adapters", headers=STRANGE[who])
    assert (no_key.status_code, no_key.json()["error"]["code"]) == (401, "invalid_key")


async def test_a_listed_page_may_ask(registry):
    app = create_app(registry, Feed(), LIMITS, cors_origins=[PAGE])
    asks = {"origin": PAGE, "access-control-request-method": "PUT", "access-control-request-headers": "if-match"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        told = await http.options("/v1/adapters", headers=asks)
        assert (told.status_code, told.headers["access-control-allow-origin"]) == (204, PAGE)
        assert told.headers["access-control-allow-headers"] == "if-match"
        for path, status in (("/v1/adapters", 200), ("/v1/adapters/a/b", 404)):
            answer = await http.get(path, headers={"origin": PAGE})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)
        other = await http.options("/v1/adapters", headers=asks | {"origin": "http://evil.example"})
        assert (other.status_code, other.json()["error"]["code"]) == (403, "origin_refused")
        assert "access-control-allow-origin" not in other.headers
