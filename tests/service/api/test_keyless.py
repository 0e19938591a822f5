"""A service without keys answers this machine's programs, and neither pages nor proxies; with keys it answers all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.api.world import CHAT, chat, key, says, world

STRANGE = {
    "a rebound name": {"host": "evil.example"},
    "a page": {"origin": "http://evil.example"},
    "a form": {"content-type": "text/plain"},
    "a proxy": {"x-forwarded-for": "203.0.113.9"},
}
PATHS = ("/v1/models", "/metrics", "/v1/adapters/residency")


@pytest.mark.parametrize("who", STRANGE)
async def test_without_a_key(tmp_path: Path, who: str) -> None:
    front = world(tmp_path, says("never"))
    answer = await front.post(CHAT, chat(), headers=STRANGE[who])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (403, "keyless_refused", "permission_error")
    assert "quickchange keys create" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert front.engine.requests == []
    if who != "a form":
        for path in PATHS:
            assert (await front.get(path, headers=STRANGE[who])).status_code == 403, path
    for path in ("/", "/health", "/ready"):
        assert (await front.get(path, headers=STRANGE[who])).status_code == 200, path


@pytest.mark.parametrize("who", STRANGE)
async def test_with_one(tmp_path: Path, who: str) -> None:
    """As an ingress sends them: its own name, its own headers."""
    mine = key(None)
    front = world(tmp_path, says("fine"), keys=[mine])
    assert (await front.post(CHAT, chat(), headers=mine.header | STRANGE[who])).status_code == 200
    for path in PATHS:
        assert (await front.get(path, headers=mine.header | STRANGE[who])).status_code == 200, path
    assert (await front.get("/v1/models", headers=STRANGE[who])).status_code == 401


async def test_a_scrape_and_a_listed_page_need_none(tmp_path: Path) -> None:
    front = world(tmp_path, says("fine"), cors_origins=["http://localhost:5173"])
    prometheus = {"host": "localhost:8000", "x-prometheus-scrape-timeout-seconds": "10", "accept-encoding": "gzip"}
    assert (await front.get("/metrics", headers=prometheus)).status_code == 200
    assert (await front.post(CHAT, chat(), headers={"origin": "http://localhost:5173"})).status_code == 200
    assert (await front.post(CHAT, chat(), headers={"origin": "http://localhost:5174"})).status_code == 403
