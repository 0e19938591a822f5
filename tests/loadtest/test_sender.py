"""Open arrivals wait for no answer, closed ones for each; both against a real server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest

from loadtest.arrivals import Burst, Closed, Poisson, poisson_times
from loadtest.client import connected
from loadtest.errors import RequestFailed
from loadtest.samples import End
from loadtest.scenario import Flow, Phase, Work
from loadtest.sender import Sender, closed_loop
from tests.loadtest.server import Server

WORK = Work(prompt_tokens=4, max_tokens=3)
ADAPTERS = ("t/a", "t/b")


@pytest.fixture
async def sender(server: Server) -> AsyncIterator[Sender]:
    began_s = time.perf_counter()
    async with connected(server.url, lambda: time.perf_counter() - began_s, salt="s") as client:
        yield Sender(client, seed=1)


async def test_open_arrivals_do_not_wait_for_answers(server: Server, sender: Sender) -> None:
    times = poisson_times(40, 0.5, Random("1/open/1"))
    server.hold_until = len(times)  # a sender that waited for an answer would never get one
    await sender.send(Phase("steady", 0.5, (Flow("open", ADAPTERS, Poisson(40), WORK),)))
    assert len(sender.samples) == len(times) > 5
    assert all(sample.end is End.DONE for sample in sender.samples)
    scheduled = sorted(sample.scheduled_s for sample in sender.samples)
    assert [at - scheduled[0] for at in scheduled] == pytest.approx([at - times[0] for at in times])
    assert all(sample.sent_s >= sample.scheduled_s for sample in sender.samples)


async def test_closed_workers_send_when_their_answer_has_ended(server: Server, sender: Sender) -> None:
    await sender.send(Phase("steady", 60, (Flow("closed", ADAPTERS, Closed(workers=3, requests=12), WORK),)))
    assert len(server.bodies) == 12
    assert server.most_at_once <= 3
    assert Counter(sample.model for sample in sender.samples) == {"t/a": 6, "t/b": 6}


async def test_closed_workers_stop_when_the_phase_is_over(server: Server, sender: Sender) -> None:
    await sender.send(Phase("steady", 0.0, (Flow("closed", ADAPTERS, Closed(workers=3), WORK),)))
    assert server.bodies == []


async def test_a_burst_asks_every_model_once_at_one_moment(server: Server, sender: Sender) -> None:
    server.hold_until = 2
    await sender.send(Phase("steady", 1.0, (Flow("storm", ADAPTERS, Burst(at_s=0.1), WORK),)))
    assert sorted(sample.model for sample in sender.samples) == ["t/a", "t/b"]
    assert {sample.scheduled_s for sample in sender.samples} == set(sender.bursts_s)


async def test_phases_of_a_round_have_the_same_arrivals_and_other_prompts(server: Server, sender: Sender) -> None:
    flow = Flow("open", ADAPTERS, Poisson(30), WORK)
    for name in ("cold", "warm"):
        await sender.send(Phase(name, 0.4, (flow,)))
    cold, warm = (
        sorted((s for s in sender.samples if s.phase == name), key=lambda s: s.scheduled_s)
        for name in ("cold", "warm")
    )
    assert [sample.model for sample in cold] == [sample.model for sample in warm]
    assert [s.scheduled_s - cold[0].scheduled_s for s in cold] == pytest.approx(
        [s.scheduled_s - warm[0].scheduled_s for s in warm]
    )
    assert len({tuple(body["prompt"]) for body in server.bodies}) == len(server.bodies)


async def test_the_loop_of_the_benchmarks_counts_tokens_and_bears_no_failure(server: Server) -> None:
    loop = await closed_loop(server.url, ADAPTERS, WORK, concurrency=2, requests=6)
    assert len(loop.samples) == 6
    assert loop.tokens_per_s == pytest.approx(18 / loop.seconds)
    with pytest.raises(RequestFailed, match="short: 2 tokens instead of 3"):
        await closed_loop(server.url, ("short",), WORK, concurrency=1, requests=1)
