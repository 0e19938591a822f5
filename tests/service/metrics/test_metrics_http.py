"""Counting at the gateway, over the real application: what happened counts once, and no client grows the series."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.errors import Overloaded, ReplicaFailed
from service.report import FleetReport
from service.settings import Limits, MetricsOptions
from tests.service.api import world as w
from tests.service.api.world import CHAT, COMPLETIONS, World, chat, completion, encode, plays, says, version, world
from tests.service.metrics.test_metrics import replica

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(front: World) -> Series:
    """Every sample by its name and labels."""
    response = await front.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def value(front: World, name: str, **labels: str) -> float:
    return (await scrape(front))["quickchange_" + name, frozenset(labels.items())]


# -- what is counted ------------------------------------------------------------------------------------------


async def test_an_answer(tmp_path: Path) -> None:
    front = world(tmp_path, says("hello"))
    tokens = len(encode("hello"))
    assert (await front.post(COMPLETIONS, completion())).status_code == 200
    assert (await front.post(CHAT, chat(stream=True, model="mine"))).status_code == 200
    ok = {"method": "POST", "status": "200"}
    assert await value(front, "requests_total", route=COMPLETIONS, **ok) == 1
    assert await value(front, "requests_total", route=CHAT, **ok) == 1
    assert await value(front, "request_seconds_count", route=CHAT) == 1
    assert await value(front, "tenant_requests_total", tenant="acme") == 1
    assert await value(front, "adapter_requests_total", adapter="acme/support") == 1
    assert await value(front, "adapter_requests_total", adapter="default/mine") == 1
    assert await value(front, "completion_tokens_total", tenant="acme") == tokens
    assert await value(front, "prompt_tokens_total", tenant="acme") == len(front.engine.requests[0].prompt)
    assert await value(front, "first_token_seconds_count") == 2
    assert await value(front, "inter_token_seconds_count") == 2 * (tokens - 1)


async def test_the_base_is_no_adapter(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"))
    await front.post(COMPLETIONS, completion(model=w.BASE_NAME))
    assert await value(front, "adapter_requests_total", adapter="base") == 1
    assert await value(front, "tenant_requests_total", tenant="default") == 1


async def test_several_prompts_and_choices_are_one_first_token(tmp_path: Path) -> None:
    front = world(tmp_path, plays([1, 2, 3]))
    await front.post(COMPLETIONS, completion(prompt=["a", "b"], n=2, ignore_eos=True))
    assert await value(front, "first_token_seconds_count") == 1
    assert await value(front, "completion_tokens_total", tenant="acme") == 12


async def test_errors_by_code_also_inside_a_stream(tmp_path: Path) -> None:
    front = world(tmp_path, lambda request: [Overloaded("full")])
    assert (await front.post(CHAT, chat())).status_code == 429
    assert await value(front, "request_errors_total", code="overloaded") == 1
    assert await value(front, "requests_total", method="POST", route=CHAT, status="429") == 1
    assert await value(front, "request_errors_total", code="internal_error") == 0
    broken = world(tmp_path, lambda request: [*says("ab")(request)[:1], ReplicaFailed("gone")])
    assert (await broken.post(CHAT, chat(stream=True))).status_code == 200
    assert await value(broken, "request_errors_total", code="replica_failed") == 1


async def test_a_full_house_still_says_how_it_is(tmp_path: Path) -> None:
    front = world(tmp_path, lambda request: [w.HANG], Limits(in_flight=1, deadline_s=30))
    holding = asyncio.create_task(front.post(CHAT, chat()))
    async with asyncio.timeout(60):
        while not front.engine.requests:
            await asyncio.sleep(0.001)
    assert await value(front, "in_flight_requests") == 1
    assert (await front.post(CHAT, chat())).status_code == 429
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    assert await value(front, "in_flight_requests") == 0


# -- what is not ----------------------------------------------------------------------------------------------


async def test_names_that_do_not_exist_make_no_series(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    front = world(tmp_path, says("x"))
    async with front.client() as client:
        before: Series = {}
        for i in range(5001):
            assert (await client.post(COMPLETIONS, json=completion(model=f"acme/none-{i}"))).status_code == 404
            assert (await client.get(f"/v1/models/tenant-{i}/none")).status_code == 404
            if i < 300:
                assert (await client.get(f"/nowhere/{i}")).status_code == 404
                assert (await client.request(f"BREW{i}", "/v1/models")).status_code == 405
            before = before or await scrape(front)
    after = await scrape(front)
    new = {key for key in after.keys() - before.keys() if ("route", "/metrics") not in key[1]}  # the scrape's own
    assert new == set()
    assert await value(front, "requests_total", method="other", route="/v1/models", status="405") == 300
    assert await value(front, "requests_total", method="GET", route="other", status="404") == 300
    assert await value(front, "request_errors_total", code="model_not_found") == 2 * 5001


async def test_tenants_and_adapters_beyond_the_cap_are_one(tmp_path: Path) -> None:
    adapters = [w.adapter(f"tenant-{i}", "x", version(1)) for i in range(1000)]
    front = world(tmp_path, says("y"), adapters=adapters, metrics=MetricsOptions(tenants=10, adapters=20))
    async with front.client() as client:
        for i in range(1000):
            assert (await client.post(COMPLETIONS, json=completion(model=f"tenant-{i}/x"))).status_code == 200
    series = await scrape(front)
    tenants = {dict(labels)["tenant"]: value for (name, labels), value in series.items() if "tenant_requests" in name}
    assert tenants == {f"tenant-{i}": 1 for i in range(10)} | {"other": 990}
    served = {
        dict(labels)["adapter"]: value for (name, labels), value in series.items() if "adapter_requests" in name
    }
    assert served == {f"tenant-{i}/x": 1 for i in range(20)} | {"other": 980}


# -- residency ------------------------------------------------------------------------------------------------


async def test_residency_is_what_replicas_hold(tmp_path: Path) -> None:
    front = world(tmp_path, says("x"))
    front.fleet = FleetReport({"r1": replica()}, ("r2",))
    answer = (await front.get("/v1/adapters/residency")).json()
    assert answer["object"] == "list"
    (one,) = answer["data"]
    adapters = one.pop("adapters")
    assert one == {
        "replica": "r1",
        "backend": "fake",
        "fallback": None,
        "running": 2,
        "waiting": 1,
        "kv_blocks_used": 25,
        "kv_blocks_total": 100,
    }
    assert [(adapter["adapter"], adapter["state"]) for adapter in adapters] == [
        ("acme/a@1", "ready"),
        ("acme/a@2", "ready"),
        ("acme/b@1", "ready"),
        ("acme/c@1", "fetching"),
        ("acme/d@1", "failed"),
    ]
    assert adapters[0] == {
        "adapter": "acme/a@1",
        "digest": "sha256:a1",
        "state": "ready",
        "bytes": 100,
        "leases": 1,
        "idle_s": 0.0,
        "error": None,
        "retry_after_s": None,
    }
    assert (adapters[4]["error"], adapters[4]["retry_after_s"]) == ("adapter_failed", 1.0)
