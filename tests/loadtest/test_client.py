"""One request against a real server: what it does becomes a sample, whatever that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from loadtest.client import Ask, Client, connected, prompt
from loadtest.samples import End
from loadtest.scenario import Disconnects, Patient, Reading, Slow, UntilEnd, Work
from tests.loadtest.server import PADDING, Server

WORK = Work(prompt_tokens=5, max_tokens=6)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    began_s = time.perf_counter()
    async with connected(server.url, lambda: time.perf_counter() - began_s, salt="s", key="secret") as client:
        yield client


def ask(client: Client, model: str, reading: Reading | None = None, *, work: Work = WORK, for_s: float = 60) -> Ask:
    now_s = client.clock()
    return Ask("steady", 1, "flow", model, 0, work, reading or Patient(), now_s, now_s + for_s, 7)


async def test_an_answer_is_measured(server: Server, client: Client) -> None:
    sample = await client.ask(ask(client, "t/a"))
    assert (sample.end, sample.error, sample.status, sample.tokens) == (End.DONE, None, 200, 6)
    assert sample.adapter == "t/a@1"
    assert sample.first_s is not None
    assert sample.scheduled_s <= sample.sent_s < sample.first_s < sample.last_s
    assert len(sample.gaps_s) == 5
    assert sample.first_s + sum(sample.gaps_s) <= sample.last_s
    assert server.bodies[0] == {
        "model": "t/a",
        "prompt": prompt(WORK, "s/7"),
        "max_tokens": 6,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("model", "status", "error"),
    [
        ("refuses", 503, "503 overloaded"),
        ("rambles", 502, "502 <html>bad gateway</html>"),
        ("breaks", 200, "in the stream: adapter_failed"),
        ("dies", 200, "RemoteProtocolError"),
        ("garbles", 200, "an event that is no JSON"),
        ("stops", 200, "the stream ended without [DONE]"),
        ("short", 200, "5 tokens instead of 6"),
    ],
)
async def test_a_failure_is_a_sample_that_names_it(client: Client, model: str, status: int, error: str) -> None:
    sample = await client.ask(ask(client, model))
    assert (sample.end, sample.status, sample.error) == (End.FAILED, status, error)


async def test_no_server_is_a_failure_too() -> None:
    async with connected("http://127.0.0.1:9/v1", time.perf_counter, salt="s") as client:
        sample = await client.ask(ask(client, "base"))
    assert (sample.end, sample.status, sample.error) == (End.FAILED, None, "ConnectError")


async def test_who_hangs_up_is_gone_for_the_server(server: Server, client: Client) -> None:
    endless = Work(prompt_tokens=5, max_tokens=1_000_000)
    sample = await client.ask(ask(client, "base", Disconnects(after_chunks=3), work=endless))
    assert (sample.end, sample.error, len(sample.gaps_s)) == (End.LEFT, None, 2)
    assert sample.tokens == 3
    while server.running:
        await asyncio.sleep(0.01)


async def test_who_stays_until_the_end_hangs_up_then(server: Server, client: Client) -> None:
    endless = Work(prompt_tokens=5, max_tokens=1_000_000)
    asked = ask(client, "base", UntilEnd(), work=endless, for_s=0.3)
    sample = await client.ask(asked)
    assert (sample.end, sample.error) == (End.LEFT, None)
    assert sample.last_s >= asked.until_s
    while server.running:
        await asyncio.sleep(0.01)


async def test_an_answer_that_outlasts_its_phase_by_far_has_failed(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.client.PATIENCE_S", 0.2)
    endless = Work(prompt_tokens=5, max_tokens=1_000_000)
    sample = await client.ask(ask(client, "base", work=endless, for_s=0.1))
    assert (sample.end, sample.error) == (End.FAILED, "no end within 0.2 s of its phase's")
    while server.running:
        await asyncio.sleep(0.01)


async def test_an_answer_that_is_over_before_the_end_is_done(client: Client) -> None:
    assert (await client.ask(ask(client, "base", UntilEnd()))).end is End.DONE


async def test_a_slow_reader_holds_up_its_writer(server: Server, client: Client) -> None:
    server.pause_s = 0
    # 32 MB: far more than the sockets' buffers on both sides take.
    work = Work(prompt_tokens=5, max_tokens=2000, logprobs=20)
    assert work.max_tokens * len(PADDING) > 32_000_000
    slow = await client.ask(ask(client, "base", Slow(bytes_per_s=64), work=work, for_s=2))
    assert (slow.end, slow.error, slow.status) == (End.LEFT, None, 200)
    assert 0 < server.chunks_written["base"] < 1000
    patient = await client.ask(ask(client, "base", work=work))
    assert patient.end is End.DONE
    assert server.chunks_written["base"] == 2000


async def test_a_slow_reader_may_reach_the_end(client: Client) -> None:
    assert (await client.ask(ask(client, "base", Slow(bytes_per_s=10_000)))).end is End.DONE


def test_prompts_differ_from_request_to_request_and_are_repeatable() -> None:
    work = Work(prompt_tokens=16, max_tokens=1, vocabulary=1000)
    prompts = {tuple(prompt(work, f"s/{number}")) for number in range(100)}
    assert len({one[:4] for one in prompts}) == 100
    assert prompt(work, "s/1") == prompt(work, "s/1") != prompt(work, "t/1")
    assert all(len(one) == 16 and min(one) >= 100 and max(one) < 1000 for one in prompts)
