"""Models, probes, and what is no route."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette

from adapters_registry.records import Changes
from service.api import models
from tests.service.api.world import BASE_NAME, CHAT, CONTEXT, CREATED, QuietSource, adapter, chat, says, world


async def test_models_are_the_base_and_what_has_a_production_alias(tmp_path: Path) -> None:
    body = (await world(tmp_path, says("x")).get("/v1/models")).json()
    assert body["object"] == "list"
    base, *adapters = body["data"]
    assert base.pop("created") > 1_700_000_000
    assert base == {"id": BASE_NAME, "object": "model", "owned_by": "quickchange", "parent": None, "root": BASE_NAME,
                    "max_model_len": CONTEXT}  # fmt: skip
    assert adapters == [
        {
            "id": "acme/support",
            "object": "model",
            "created": int(CREATED.timestamp()),
            "owned_by": "acme",
            "parent": BASE_NAME,
            "root": "acme/support@3",
            "max_model_len": CONTEXT,
        },
        {
            "id": "default/mine",
            "object": "model",
            "created": int(CREATED.timestamp()),
            "owned_by": "default",
            "parent": BASE_NAME,
            "root": "default/mine@1",
            "max_model_len": CONTEXT,
        },
    ]


@pytest.mark.parametrize(
    ("asked", "root"),
    [
        ("acme/support", "acme/support@3"),
        ("acme%2Fsupport", "acme/support@3"),
        ("acme/support@2", "acme/support@2"),
        ("mine", "default/mine@1"),
        ("org%2FBase%3A1b", BASE_NAME),
        ("org/Base:1b", BASE_NAME),
    ],
)
async def test_retrieve(tmp_path: Path, asked: str, root: str) -> None:
    response = await world(tmp_path, says("x")).get(f"/v1/models/{asked}")
    assert response.status_code == 200
    assert response.json()["root"] == root


async def test_every_listed_model_can_be_retrieved_and_asked(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"))
    for entry in (await front.get("/v1/models")).json()["data"]:
        assert (await front.get(f"/v1/models/{entry['id']}")).json() == entry
        assert (await front.post(CHAT, chat(model=entry["id"]))).json()["model"] == entry["root"]


@pytest.mark.parametrize(("asked", "status"), [("no/such", 404), ("acme/elsewhere", 422), ("A", 404)])
async def test_retrieve_what_is_not_there(tmp_path: Path, asked: str, status: int) -> None:
    assert (await world(tmp_path, says("x")).get(f"/v1/models/{asked}")).status_code == status


async def test_probes(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"))
    assert {path: (await front.get(path)).status_code for path in sorted({"/health", "/ready"})} == {
        "/health": 200,
        "/ready": 200,
    }
    front.ready = False
    assert (await front.get("/health")).status_code == 200
    response = await front.get("/ready")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "not_ready"
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/v1", "/v1/embeddings", "/v1/models/acme/support/x", "/healthz", "/v1/chat"])
async def test_no_such_path(tmp_path: Path, path: str) -> None:
    response = await world(tmp_path, says("x")).get(path)
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-should-retry"] == "false"
    assert "x-request-id" in response.headers


async def test_the_catalog_is_followed_while_the_application_lives(tmp_path: Path) -> None:
    class Moved(QuietSource):
        changed = False

        async def changes(self, since: int, wait_s: float, head: str | None) -> Changes:
            if not self.changed:
                self.changed = True
                return Changes(seq=2, adapters=(adapter("acme", "new"),))
            return await super().changes(since, wait_s, head)

    front = world(tmp_path, says("x"), source=Moved())
    assert (await front.get("/v1/models/acme/new")).status_code == 404
    assert isinstance(front.app, Starlette)
    async with front.app.router.lifespan_context(front.app):
        while (await front.get("/v1/models/acme/new")).status_code == 404:
            await asyncio.sleep(0.001)


async def test_no_such_method(tmp_path: Path) -> None:
    response = await world(tmp_path, says("x")).get(CHAT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_models_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    names = [f"a{number:02}" for number in range(5)]
    front = world(tmp_path, says("x"), adapters=[adapter("acme", name) for name in names])
    ids = [BASE_NAME, *(f"acme/{name}" for name in names)]

    async def page(**query: object) -> tuple[list[str], bool]:
        answer = (await front.get("/v1/models", params=query)).json()
        return [entry["id"] for entry in answer["data"]], answer["has_more"]

    assert await page() == (ids, False)
    assert await page(limit=6) == (ids, False)
    assert await page(limit=1) == (ids[:1], True)
    assert await page(limit=3) == (ids[:3], True)
    assert await page(limit=3, after=ids[2]) == (ids[3:6], False)
    assert await page(limit=2, after=ids[0]) == (ids[1:3], True)
    assert await page(after="acme/a02-deleted-meanwhile") == (ids[4:], False)
    assert await page(after=ids[-1]) == ([], False)
    for wrong in ({"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"after": "no-name"}):
        answer = await front.get("/v1/models", params=wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == next(iter(wrong))


async def test_a_list_is_bounded_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "PAGE", 3)
    front = world(tmp_path, says("x"), adapters=[adapter("acme", f"a{number}") for number in range(5)])
    answer = (await front.get("/v1/models")).json()
    assert (len(answer["data"]), answer["has_more"]) == (3, True)
