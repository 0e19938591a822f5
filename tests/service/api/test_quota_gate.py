"""Quotas as a client meets them: what it is told with an answer, with a refusal, and what comes back to it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, PermissionDeniedError, RateLimitError

from adapters_registry.access import Scope
from adapters_registry.records import Quotas, TenantQuotas
from service.api.job import Usage
from service.api.quota_gate import billed, duration
from service.errors import AdapterFailed
from service.settings import KeyOptions
from tests.service.api.world import (
    ADAPTERS,
    CHAT,
    COMPLETIONS,
    HANG,
    Key,
    World,
    adapter,
    chat,
    completion,
    encode,
    key,
    says,
    version,
    world,
)

PROMPT = len(encode("hello"))
ANSWER = len(encode("hello world"))
LIMITS = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")


def told(response: httpx.Response) -> list[int | None]:
    """Limit and remaining of requests and tokens, as the headers say."""
    found = [response.headers.get(f"x-ratelimit-{name}") for name in LIMITS]
    return [None if value is None else int(value) for value in found]


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


def metered(path: Path, *texts: str, options: KeyOptions | None = None, **quotas: int) -> tuple[World, Key]:
    one = key("acme", Scope.INFER, quotas=Quotas(**quotas))
    return world(path, says(*(texts or ("hello world",))), keys=(one,), options=options), one


async def complete(front: World, one: Key, max_tokens: int = 20, **more: object) -> httpx.Response:
    return await front.post(COMPLETIONS, completion(max_tokens=max_tokens, **more), headers=one.header)


async def test_every_answer_says_how_the_key_stands(tmp_path: Path) -> None:
    front, one = metered(tmp_path, requests_per_min=3, tokens_per_min=200)
    first = await complete(front, one)
    assert first.status_code == 200
    # What it may use is told at its start, while all that it may generate is reserved.
    assert told(first) == [3, 2, 200, 200 - PROMPT - 20]
    second = await complete(front, one)
    assert told(second) == [3, 1, 200, 200 - (PROMPT + ANSWER) - PROMPT - 20]
    for name in ("requests", "tokens"):
        assert second.headers[f"x-ratelimit-reset-{name}"][-1] == "s"


async def test_nothing_is_said_of_a_limit_that_is_not_there(tmp_path: Path) -> None:
    front, one = metered(tmp_path)
    assert told(await complete(front, one)) == [None] * 4
    only, another = metered(tmp_path, requests_per_min=5)
    assert told(await complete(only, another)) == [5, 4, None, None]
    anonymous = world(tmp_path, says("x"))
    assert told(await anonymous.post(COMPLETIONS, completion())) == [None] * 4


async def test_over_the_requests_of_a_minute(tmp_path: Path) -> None:
    front, one = metered(tmp_path, requests_per_min=2)
    for _ in range(2):
        assert (await complete(front, one)).status_code == 200
    refused = await complete(front, one)
    assert refusal(refused) == (429, "quota_exceeded", "requests_per_min")
    assert 50 < int(refused.headers["retry-after"]) <= 60
    assert told(refused)[:2] == [2, 0]
    assert "x-should-retry" not in refused.headers
    assert len(front.engine.requests) == 2
    # Chat and completions are one limit, and what is asked of a model costs nothing.
    assert (await front.post(CHAT, chat(), headers=one.header)).status_code == 429
    assert (await front.get("/v1/models", headers=one.header)).status_code == 200


async def test_over_the_tokens_of_a_minute(tmp_path: Path) -> None:
    front, one = metered(tmp_path, tokens_per_min=PROMPT + 20 + ANSWER)
    assert (await complete(front, one)).status_code == 200
    refused = await complete(front, one, 21)
    assert refusal(refused) == (429, "quota_exceeded", "tokens_per_min")
    assert int(refused.headers["retry-after"]) > 50
    assert (await complete(front, one, 20 - PROMPT)).status_code == 200


async def test_choices_and_prompts_count_each(tmp_path: Path) -> None:
    front, one = metered(tmp_path, tokens_per_min=1000)
    several = await complete(front, one, 10, n=3, prompt=["hello", "hello"])
    assert told(several)[2:] == [1000, 1000 - 2 * PROMPT - 2 * 3 * 10]


async def test_what_could_never_be_is_refused_for_good(tmp_path: Path) -> None:
    front, one = metered(tmp_path, tokens_per_min=10)
    refused = await complete(front, one, 100)
    assert refusal(refused) == (403, "quota_too_small", "tokens_per_min")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert (await complete(front, one, 1)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_in_flight(tmp_path: Path, stream: bool) -> None:
    one = key("acme", Scope.INFER, quotas=Quotas(concurrent=1))
    front = world(tmp_path, lambda request: [*says("hello")(request)[:1], HANG], keys=(one,))
    async with front.serving() as url:
        body, path = completion(stream=stream), f"{url}{COMPLETIONS}"
        async with httpx.AsyncClient(headers=one.header) as client:
            first = asyncio.create_task(_until_cancelled(client, path, body))
            while not front.engine.requests:
                await asyncio.sleep(0.001)
            refused = await client.post(path, json=body)
            assert refusal(refused) == (429, "quota_exceeded", "concurrent")
            assert refused.headers["retry-after"] == "1"
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            # The place comes back although nobody reads to the end.
            await front.engine.ended.wait()
            front.engine.script = says("hello")
            async with asyncio.timeout(60):
                while (await client.post(path, json=body)).status_code == 429:
                    await asyncio.sleep(0.005)


async def _until_cancelled(client: httpx.AsyncClient, url: str, body: object) -> None:
    async with client.stream("POST", url, json=body) as response:
        async for _ in response.aiter_bytes():
            pass


async def test_bytes_that_requests_keep_loaded(tmp_path: Path) -> None:
    def of_size(number: int, size_bytes: int) -> object:
        return version(number).model_copy(update={"size_bytes": size_bytes})

    one = key("acme", Scope.INFER, quotas=Quotas(resident_bytes=100))
    known = [
        adapter("acme", name, of_size(i, size))
        for i, (name, size) in enumerate([("a", 60), ("b", 60), ("c", 101)], 1)
    ]  # type: ignore[arg-type]
    front = world(tmp_path, lambda request: [HANG], keys=(one,), adapters=known)
    first = asyncio.create_task(complete(front, one, model="acme/a"))
    while not front.engine.requests:
        await asyncio.sleep(0)
    assert refusal(await complete(front, one, model="acme/b")) == (429, "quota_exceeded", "resident_bytes")
    assert refusal(await complete(front, one, model="acme/c")) == (403, "quota_too_small", "resident_bytes")
    front.engine.script = says("hello")
    # The very adapter that is kept loaded, and the base, take no more.
    assert (await complete(front, one, model="acme/a")).status_code == 200
    assert (await complete(front, one, model="org/Base:1b")).status_code == 200
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await complete(front, one, model="acme/b")).status_code == 200


async def test_what_failed_before_its_first_token_costs_no_tokens(tmp_path: Path) -> None:
    front, one = metered(tmp_path, tokens_per_min=100)
    front.engine.script = lambda request: [AdapterFailed("not now")]
    for stream in (False, True):
        assert (await complete(front, one, 90, stream=stream)).status_code == 503
    front.engine.script = says("hello world")
    assert told(await complete(front, one))[2:] == [100, 100 - PROMPT - 20]


async def test_a_stream_that_fails_costs_what_came(tmp_path: Path) -> None:
    front, one = metered(tmp_path, tokens_per_min=200)
    front.engine.script = lambda request: [*says("hello world")(request)[:1], AdapterFailed("not now")]
    assert "adapter_failed" in (await complete(front, one, stream=True)).text
    front.engine.script = says("hello world")
    assert told(await complete(front, one))[2:] == [200, 200 - (PROMPT + 1) - PROMPT - 20]


async def test_a_request_that_makes_no_sense_counts_as_one(tmp_path: Path) -> None:
    front, one = metered(tmp_path, requests_per_min=5, tokens_per_min=100)
    assert (await complete(front, one, best_of=2)).status_code == 400
    assert (await complete(front, one, model="acme/none")).status_code == 404
    assert told(await complete(front, one)) == [5, 2, 100, 100 - PROMPT - 20]


async def test_each_of_two_gateways_allows_half(tmp_path: Path) -> None:
    front, one = metered(tmp_path, requests_per_min=4, options=KeyOptions(gateways=2))
    assert [told(await complete(front, one))[:2] for _ in range(2)] == [[2, 1], [2, 0]]
    assert (await complete(front, one)).status_code == 429


async def test_the_openai_client_does_not_try_again_what_cannot_be(tmp_path: Path) -> None:
    front, one = metered(tmp_path, requests_per_min=1, tokens_per_min=50)
    async with front.serving() as url, AsyncOpenAI(base_url=f"{url}/v1", api_key=str(one.text)) as user:
        with pytest.raises(PermissionDeniedError) as never:
            await user.completions.create(model="acme/support", prompt="hello", max_tokens=100)
        assert never.value.code == "quota_too_small"
        assert never.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(RateLimitError) as later:
            await user.with_options(max_retries=0).completions.create(model="acme/support", prompt="hello")
        assert int(later.value.response.headers["retry-after"]) > 50


async def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    quotas = Quotas(requests_per_min=2, tokens_per_min=100)
    one, operator = key("acme", Scope.INFER, quotas=quotas), key(None, Scope.ADMIN)
    front = world(tmp_path, says("x"), keys=(one, operator), adapters=ADAPTERS)
    await complete(front, one, 200)
    for _ in range(3):
        await complete(front, one)
    await front.post(CHAT, chat())
    await front.get("/v1/models", headers={"authorization": "Bearer x"})
    await front.get("/metrics", headers=one.header)
    text = (await front.get("/metrics", headers=operator.header)).text
    name = "quickchange_key_refusals_total{reason="
    counted = {line.split('"')[1]: float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)}
    assert {reason: count for reason, count in counted.items() if count} == {
        "tokens_per_min": 1,
        "requests_per_min": 2,
        "missing": 1,
        "malformed": 1,
        "scope": 1,
    }
    assert {"expired", "unknown", "wrong", "stale", "concurrent", "resident_bytes"} <= set(counted)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.9995, "1s"),
        (1, "1s"),
        (7.66, "7.66s"),
        (60, "1m0s"),
        (61.5, "1m1.5s"),
    ],
)
def test_times_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 120))
def test_a_time_that_is_told_is_never_too_short(seconds: float) -> None:
    text = duration(seconds)
    minutes, _, rest = text.rpartition("m") if not text.endswith("ms") else ("", "", text)
    shown = float(minutes or 0) * 60 + (float(rest[:-2]) / 1000 if rest.endswith("ms") else float(rest[:-1]))
    assert shown >= seconds or math.isclose(shown, seconds, abs_tol=1e-9)
    assert shown - seconds < 0.00101


async def test_a_tenants_keys_share_its_quotas(tmp_path: Path) -> None:
    """However many its admin makes."""
    one, two = (key("acme", Scope.INFER, quotas=Quotas(requests_per_min=9)) for _ in range(2))
    foreign, everywhere = key("globex", Scope.INFER), key(None, Scope.INFER)
    acme = TenantQuotas(name="acme", requests_per_min=2)
    front = world(tmp_path, says("hello"), keys=(one, two, foreign, everywhere), tenants=(acme,))
    assert told(await complete(front, one))[:2] == [2, 1]
    assert told(await complete(front, two))[:2] == [2, 0]
    for caller in (one, two):
        refused = await complete(front, caller)
        assert refusal(refused) == (429, "quota_exceeded", "requests_per_min")
        assert "this key's tenant may make 2 requests" in refused.json()["error"]["message"]
    for caller in (foreign, everywhere):
        assert told(await complete(front, caller)) == [None] * 4


async def test_choices_in_flight_are_counted(tmp_path: Path) -> None:
    front, one = metered(tmp_path, concurrent=3)
    assert (await complete(front, one, n=3)).status_code == 200
    for more in ({"n": 4}, {"prompt": ["hello"] * 4}, {"n": 2, "prompt": ["hello"] * 2}):
        assert refusal(await complete(front, one, **more)) == (403, "quota_too_small", "concurrent")
    assert (await complete(front, one, prompt=["hello"] * 3)).status_code == 200


@pytest.mark.parametrize(
    ("usage", "failed", "tokens"),
    [
        (None, False, 0),
        (None, True, 0),
        (Usage(7, 0, 0), True, 0),
        (Usage(7, 0, 0), False, 7),
        (Usage(7, 3, 7), True, 10),
    ],
)
def test_a_request_that_failed_before_its_first_token_costs_nothing(
    usage: Usage | None, failed: bool, tokens: int
) -> None:
    assert billed(usage, failed=failed) == tokens
