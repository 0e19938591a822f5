"""An engine host: events out, leases back, and one end for every request whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

import pytest

from service.dispatch.feed import follow
from service.errors import AdapterFailed, InternalError, NonFiniteLogits, QuickchangeError
from service.serve.engine_host import EngineHost
from service.serve.parts import Parts
from service.values import AdapterRef, AdapterSet, Event, Failure, FinishReason, GenerateRequest, SamplingParams
from tests.service.serve.fake_engine import POISON, SERVED, FakeLoop, FakeStore, announce, expected

REF = AdapterRef("acme", "support", 3, "sha256:" + "a" * 64)


class Bench:
    """A host over a fake engine, and one gateway's frames collected."""

    def __init__(self, step_s: float = 0.0005, load_s: float = 0.0) -> None:
        self.store = FakeStore(load_s)
        self.loops: list[FakeLoop] = []
        self.host = EngineHost(Parts(SERVED, self.store, partial(self._make_loop, step_s), announce))
        self.events: list[Event] = []
        self.listening = asyncio.create_task(self._listen())

    def _make_loop(self, step_s: float, deliver: Callable[[list[Event]], None]) -> FakeLoop:
        self.loops.append(FakeLoop(deliver, step_s))
        return self.loops[-1]

    async def _listen(self) -> None:
        async for frame in follow(self.host.feeds.here(), "g"):
            self.events += frame

    def of(self, request_id: str, choice: int = 0) -> list[Event]:
        return [e for e in self.events if (e.request_id, e.choice) == (request_id, choice)]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.listening.cancel()
    await bench.host.stop()


def request(
    id: str = "r",
    *,
    prompt: tuple[int, ...] = (1, 2),
    tokens: int = 5,
    n: int = 1,
    adapter: AdapterRef | None = None,
    deadline_s: float = 10.0,
) -> GenerateRequest:
    adapters = AdapterSet() if adapter is None else AdapterSet((adapter,))
    return GenerateRequest(id, "acme", prompt, SamplingParams(max_tokens=tokens), deadline_s, n, adapters)


async def test_every_choice_comes_whole_and_ends_once(bench: Bench) -> None:
    asked = request(n=3)
    assert await bench.host.run(asked, "g") is None
    await bench.until(lambda: len([e for e in bench.events if e.finish]) == 3)
    for choice in range(3):
        events = bench.of("r", choice)
        assert [token for e in events for token in e.tokens] == expected(asked, choice)
        assert [e.finish for e in events if e.finish] == [FinishReason.LENGTH]


async def test_events_wait_for_a_gateway_that_attaches_late(bench: Bench) -> None:
    assert await bench.host.run(request("late"), "other") is None
    frames = follow(bench.host.feeds.here(), "other")
    assert [t for e in await anext(frames) for t in e.tokens] == expected(request())
    await frames.aclose()


async def test_a_newer_stream_ends_the_older_one(bench: Bench) -> None:
    newer = follow(bench.host.feeds.here(), "g")
    first = asyncio.ensure_future(anext(newer))
    await asyncio.wait_for(bench.listening, 60)
    assert await bench.host.run(request(), "g") is None
    assert (await first)[0].request_id == "r"
    assert bench.events == []
    await newer.aclose()


async def test_a_lease_is_returned_once_when_the_request_ends(bench: Bench) -> None:
    assert await bench.host.run(request(adapter=REF), "g") is None
    assert [lease.releases for lease in bench.store.leases] == [1]


async def test_a_refused_submit_returns_the_lease_and_the_reason(bench: Bench) -> None:
    failure = await bench.host.run(request(prompt=(), adapter=REF), "g")
    assert failure == Failure("invalid_value", "empty prompt", "prompt")
    assert [lease.releases for lease in bench.store.leases] == [1]


async def test_an_adapter_that_does_not_load_is_a_failure_with_its_pause(bench: Bench) -> None:
    broken = AdapterRef("acme", "broken", 1, "sha256:" + "b" * 64)
    failure = await bench.host.run(request(adapter=broken), "g")
    assert failure is not None
    assert (failure.code, failure.retry_after_s) == ("adapter_failed", 2.0)


async def test_several_adapters_in_one_request_are_refused(bench: Bench) -> None:
    other = replace(REF, name="tone", digest="sha256:" + "c" * 64)
    failure = await bench.host.run(replace(request(), adapters=AdapterSet((REF, other))), "g")
    assert failure is not None
    assert failure.code == "adapter_incompatible"
    assert "acme/support@3+acme/tone@3" in failure.message
    assert bench.store.leases == []


@pytest.mark.parametrize(
    ("failure", "tenant", "blamed"),
    [
        (NonFiniteLogits("no finite logit"), "acme", 1),
        (AdapterFailed("its rows raised"), "acme", 1),
        (InternalError("sampling raised"), "acme", 0),
        (NonFiniteLogits("no finite logit"), "globex", 0),
    ],
)
async def test_a_row_that_failed_is_told_and_blamed_on_the_adapter_for_its_owner_alone(
    bench: Bench, failure: QuickchangeError, tenant: str, blamed: int
) -> None:
    asked = replace(request(tokens=100_000, n=2, adapter=REF), tenant=tenant)
    call = asyncio.create_task(bench.host.run(asked, "g"))
    await bench.until(lambda: bool(bench.events))
    bench.host._deliver([Event("r", 0, finish=FinishReason.FAILED, failure=failure.failure())])
    assert await call == failure.failure()
    assert bench.store.blamed == [REF] * blamed
    assert [event.failure for event in bench.of("r", 0)][-1] is None


async def test_a_base_row_that_failed_is_blamed_on_nobody(bench: Bench) -> None:
    call = asyncio.create_task(bench.host.run(request(tokens=100_000), "g"))
    await bench.until(lambda: bool(bench.events))
    failure = NonFiniteLogits("no finite logit").failure()
    bench.host._deliver([Event("r", 0, finish=FinishReason.FAILED, failure=failure)])
    assert await call == failure
    assert bench.store.blamed == []


async def test_cancelling_the_call_cancels_in_the_engine_and_returns_the_lease(bench: Bench) -> None:
    call = asyncio.create_task(bench.host.run(request(tokens=100_000, adapter=REF), "g"))
    await bench.until(lambda: bool(bench.events))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await bench.until(lambda: bench.loops[0].alive == 0 and bench.store.leases[0].releases == 1)
    await bench.until(lambda: bench.of("r")[-1].finish is FinishReason.CANCELLED)


async def test_cancelling_while_the_adapter_loads_leaves_nothing() -> None:
    bench = Bench(load_s=0.05)
    call = asyncio.create_task(bench.host.run(request(adapter=REF), "g"))
    await asyncio.sleep(0)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    assert bench.store.leases == []
    assert bench.loops[0].alive == 0
    bench.listening.cancel()
    await bench.host.stop()


async def test_an_abort_while_the_adapter_loads_is_not_lost(bench: Bench) -> None:
    bench.store.load_s = 3600.0
    running = asyncio.create_task(bench.host.run(request(adapter=REF), "g"))
    await asyncio.sleep(0)
    bench.host.abort("r")
    assert await running is None
    assert (bench.loops[0].alive, bench.store.leases) == (0, [])


async def test_an_abort_that_overtakes_its_request_is_not_lost(bench: Bench) -> None:
    bench.host.abort("r")
    assert await bench.host.run(request(), "g") is None
    assert bench.events == []
    assert await bench.host.run(request("next"), "g") is None
    await bench.until(lambda: bool(bench.of("next")))


async def test_abort_is_a_second_way_to_cancel(bench: Bench) -> None:
    call = asyncio.create_task(bench.host.run(request(tokens=100_000), "g"))
    await bench.until(lambda: bool(bench.events))
    bench.host.abort("r")
    bench.host.abort("unknown")
    assert await call is None
    assert bench.loops[0].cancelled == ["r"]


async def test_the_deadline_covers_loading(bench: Bench) -> None:
    bench.store.load_s = 30.0
    failure = await bench.host.run(request(adapter=REF, deadline_s=0.02), "g")
    assert failure is not None
    assert failure.code == "deadline_exceeded"


async def test_the_deadline_cancels_in_the_engine(bench: Bench) -> None:
    failure = await bench.host.run(request(tokens=100_000, deadline_s=0.05), "g")
    assert failure is not None
    assert failure.code == "deadline_exceeded"
    await bench.until(lambda: bench.loops[0].alive == 0)


async def test_when_the_engine_dies_all_requests_end_failed_once_and_health_tells(bench: Bench) -> None:
    calls = [asyncio.create_task(bench.host.run(request(f"r{i}", tokens=100_000, n=2), "g")) for i in range(3)]
    await bench.until(lambda: len({e.request_id for e in bench.events}) == 3)
    bench.host.check_health()
    killer = asyncio.create_task(bench.host.run(request("killer", prompt=(POISON,)), "g"))
    failures = await asyncio.wait_for(asyncio.gather(*calls, killer), 60)
    assert [failure and failure.code for failure in failures] == ["replica_failed"] * 4
    await bench.until(lambda: len([e for e in bench.events if e.finish]) == 7)
    assert {e.finish for e in bench.events if e.finish} == {FinishReason.FAILED}
    with pytest.raises(RuntimeError, match="thread died"):
        bench.host.check_health()
    after = await bench.host.run(request("after"), "g")
    assert after is not None
    assert after.code == "replica_failed"


async def test_stopping_ends_what_runs(bench: Bench) -> None:
    call = asyncio.create_task(bench.host.run(request(tokens=100_000, adapter=REF), "g"))
    await bench.until(lambda: bool(bench.events))
    await bench.host.stop()
    failure = await call
    assert failure is not None
    assert failure.code == "replica_failed"
    assert bench.store.leases[0].releases == 1


async def test_two_requests_cannot_share_an_id(bench: Bench) -> None:
    first = asyncio.create_task(bench.host.run(request(tokens=100_000), "g"))
    await bench.until(lambda: bool(bench.events))
    second = await bench.host.run(request(), "g")
    assert second is not None
    assert second.code == "internal_error"
    first.cancel()
