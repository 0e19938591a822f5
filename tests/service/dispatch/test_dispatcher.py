"""Dispatching: whole answers, one retry before the first token, and an error for everything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest

from service.dispatch import dispatcher as dispatching
from service.dispatch import pacing, streams
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.feed import follow
from service.errors import AdapterFailed, DeadlineExceeded, InternalError, NotReady, Overloaded, ReplicaFailed
from service.serve.engine_host import EngineHost
from service.serve.parts import Parts
from service.values import AdapterRef, AdapterSet, Event, Failure, FinishReason, GenerateRequest, SamplingParams
from tests.service.serve.fake_engine import SERVED, FakeLoop, FakeStore, announce, expected

T = TypeVar("T")


class FakeReplica:
    """A host with a plug: pulled, its calls and streams break as a killed process' do."""

    def __init__(self, step_s: float) -> None:
        self.loops: list[FakeLoop] = []
        self.host = EngineHost(Parts(SERVED, FakeStore(), partial(self._make_loop, step_s), announce))
        self.pulled = asyncio.Event()
        self.mute = False
        """Frames are lost from now on."""
        self.garbled: list[Exception] = []
        """What the next frames raise instead."""
        self.runs: list[str] = []

    def _make_loop(self, step_s: float, deliver: Callable[[list[Event]], None]) -> FakeLoop:
        self.loops.append(FakeLoop(deliver, step_s))
        return self.loops[-1]


class FakeTransport:
    """Routes each run to the first replica that is up, as the router would, and waits if there is none."""

    def __init__(self) -> None:
        self.replicas: dict[str, FakeReplica] = {}
        self.dispatcher = Dispatcher(self, route_s=30.0)
        self.aborted: list[str] = []
        self.refusal: Exception | None = None

    def start(self, id: str, step_s: float = 0.0005) -> FakeReplica:
        self.replicas[id] = FakeReplica(step_s)
        self.dispatcher.fleet_changed(frozenset(self.replicas))
        return self.replicas[id]

    def leave(self, id: str) -> FakeReplica:
        replica = self.replicas.pop(id)
        self.dispatcher.fleet_changed(frozenset(self.replicas))
        return replica

    def kill(self, id: str) -> None:
        self.replicas[id].pulled.set()
        self.leave(id)

    async def run(self, request: GenerateRequest) -> Failure | None:
        if self.refusal is not None:
            raise self.refusal
        while not self.replicas:
            await asyncio.sleep(0.002)
        id, replica = next(iter(self.replicas.items()))
        replica.runs.append(request.request_id)
        self.dispatcher.request_routed(request.request_id, id)
        return await self._unless_pulled(replica, replica.host.run(request, "g"))

    async def frames(self, replica_id: str) -> AsyncGenerator[list[Event]]:
        replica = self.replicas[replica_id]
        async with contextlib.aclosing(follow(replica.host.feeds.here(), "g")) as frames:
            while True:
                frame = await self._unless_pulled(replica, anext(frames))
                if replica.garbled:
                    raise replica.garbled.pop()
                if not replica.mute:
                    yield frame

    async def abort(self, replica_id: str, request_id: str) -> None:
        self.aborted.append(request_id)
        self.replicas[replica_id].host.abort(request_id)

    async def _unless_pulled(self, replica: FakeReplica, work: Awaitable[T]) -> T:
        working = asyncio.ensure_future(work)
        pulled = asyncio.create_task(replica.pulled.wait())
        try:
            await asyncio.wait({working, pulled}, return_when=asyncio.FIRST_COMPLETED)
            if replica.pulled.is_set():
                raise ReplicaFailed("killed")
            return await working
        finally:
            working.cancel()
            pulled.cancel()


@pytest.fixture
async def transport() -> AsyncIterator[FakeTransport]:
    transport = FakeTransport()
    yield transport
    await transport.dispatcher.close()
    for replica in transport.replicas.values():
        await replica.host.stop()


def request(
    id: str = "r", *, tokens: int = 5, n: int = 1, adapter: AdapterRef | None = None, deadline_s: float = 20.0
) -> GenerateRequest:
    adapters = AdapterSet() if adapter is None else AdapterSet((adapter,))
    return GenerateRequest(id, "acme", (1, 2), SamplingParams(max_tokens=tokens), deadline_s, n, adapters)


async def answer(transport: FakeTransport, asked: GenerateRequest) -> list[Event]:
    return [event async for events in transport.dispatcher.generate(asked) for event in events]


def tokens(events: list[Event], choice: int = 0) -> list[int]:
    return [token for event in events if event.choice == choice for token in event.tokens]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.001)


async def test_many_requests_come_whole_over_one_stream(transport: FakeTransport) -> None:
    transport.start("a")
    asked = [request(f"r{i}", tokens=20 + i, n=1 + i % 3) for i in range(30)]
    answers = await asyncio.gather(*(answer(transport, one) for one in asked))
    for one, events in zip(asked, answers, strict=True):
        assert {event.request_id for event in events} == {one.request_id}
        for choice in range(one.n):
            assert tokens(events, choice) == expected(one, choice)
        assert len([event for event in events if event.finish]) == one.n


async def test_with_many_streams_the_first_and_last_come_at_once_and_the_rest_gathers(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "pace_s", lambda streams: 3600.0)
    transport.start("a")
    asked = request(tokens=50)
    frames = [events async for events in transport.dispatcher.generate(asked)]
    assert 1 <= len(frames) <= 2, "the first, and at the end all others"
    assert tokens([event for events in frames for event in events]) == expected(asked, 0)


async def test_what_gathers_is_told_at_the_next_beat(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "pace_s", lambda streams: 0.001)
    transport.start("a", step_s=0.02)
    frames = [events async for events in transport.dispatcher.generate(request(tokens=20))]
    assert len(frames) > 2, "a slow engine's tokens do not wait for the end"


async def test_a_failure_of_the_call_is_the_error(transport: FakeTransport) -> None:
    transport.start("a")
    broken = AdapterRef("acme", "broken", 1, "sha256:" + "b" * 64)
    with pytest.raises(AdapterFailed) as caught:
        await answer(transport, request(adapter=broken))
    assert caught.value.retry_after_s == 2.0


async def test_a_refusal_of_the_transport_passes(transport: FakeTransport) -> None:
    transport.start("a")
    transport.refusal = Overloaded("full")
    with pytest.raises(Overloaded):
        await answer(transport, request())
    transport.refusal = ZeroDivisionError()
    with pytest.raises(InternalError):
        await answer(transport, request())


async def test_closing_cancels_in_the_engine(transport: FakeTransport) -> None:
    replica = transport.start("a")
    generating = transport.dispatcher.generate(request(tokens=100_000))
    await anext(generating)
    await generating.aclose()
    await until(lambda: replica.loops[0].alive == 0 and replica.loops[0].cancelled != [])
    assert transport.aborted == ["r"]


async def test_a_replica_lost_before_the_first_token_costs_one_retry(transport: FakeTransport) -> None:
    first = transport.start("a", step_s=5.0)
    answering = asyncio.create_task(answer(transport, request()))
    await until(lambda: first.runs == ["r"])
    transport.kill("a")
    await asyncio.sleep(0.02)  # nobody there: it waits for the successor
    second = transport.start("b")
    events = await answering
    assert tokens(events) == expected(request())
    assert {event.request_id for event in events} == {"r"}
    assert second.runs == ["r~2"]


async def test_a_second_loss_is_the_clients(transport: FakeTransport) -> None:
    first = transport.start("a", step_s=5.0)
    answering = asyncio.create_task(answer(transport, request()))
    await until(lambda: first.runs == ["r"])
    transport.kill("a")
    second = transport.start("b", step_s=5.0)
    await until(lambda: second.runs == ["r~2"])
    transport.kill("b")
    with pytest.raises(ReplicaFailed):
        await answering


async def test_a_replica_lost_after_the_first_token_is_an_error(transport: FakeTransport) -> None:
    transport.start("a")
    generating = transport.dispatcher.generate(request(tokens=100_000))
    await anext(generating)
    transport.kill("a")
    transport.start("b")
    with pytest.raises(ReplicaFailed):
        async for _ in generating:
            pass


async def test_an_engine_that_dies_is_an_error_and_no_token_is_made_up(transport: FakeTransport) -> None:
    replica = transport.start("a")
    generating = transport.dispatcher.generate(request(tokens=100_000))
    events = await anext(generating)
    replica.loops[0]._commands.append(lambda: (_ for _ in ()).throw(RuntimeError("dead")))
    with pytest.raises(ReplicaFailed):
        events += [event async for more in generating for event in more]
    assert all(event.finish is not FinishReason.FAILED for event in events)


async def test_lost_frames_are_noticed(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "LAST_FRAME_S", 0.05)
    transport.start("a").mute = True
    with pytest.raises(ReplicaFailed, match="without its last tokens"):
        await answer(transport, request())


async def test_the_deadline_holds_without_any_replica(transport: FakeTransport) -> None:
    with pytest.raises(DeadlineExceeded):
        await answer(transport, request(deadline_s=0.05))


async def test_a_leaving_replica_finishes_what_it_has(transport: FakeTransport) -> None:
    leaving = transport.start("a")
    generating = transport.dispatcher.generate(asked := request(tokens=200))
    events = await anext(generating)
    transport.leave("a")
    async for more in generating:
        events += more
    assert tokens(events) == expected(asked)
    await until(lambda: len(transport.dispatcher._streams) == 0)
    await leaving.host.stop()


async def test_ids_are_unique(transport: FakeTransport) -> None:
    transport.start("a")
    generating = transport.dispatcher.generate(request(tokens=100_000))
    await anext(generating)
    with pytest.raises(InternalError):
        await answer(transport, request())
    await generating.aclose()


async def test_draining_finishes_what_runs_and_takes_nothing_new(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "DRAIN_S", dispatching.NOTIFY_S + 0.5)
    transport.start("a")
    short = asyncio.create_task(answer(transport, request("short", tokens=50)))
    endless = asyncio.create_task(answer(transport, request("endless", tokens=100_000)))
    await until(lambda: transport.replicas["a"].loops[0].alive == 2)
    transport.dispatcher.drain()
    with pytest.raises(NotReady):
        await answer(transport, request("new"))
    assert tokens(await short) == expected(request(tokens=50))
    with pytest.raises(NotReady):
        await endless
    await until(lambda: transport.replicas["a"].loops[0].alive == 0)


@pytest.mark.parametrize("trouble", [ReplicaFailed("no message"), ValueError("a defect")])
async def test_a_frame_that_cannot_be_read_costs_what_runs_there_and_nothing_else(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(streams, "REATTACH_S", (0.001,))
    other = FakeReplica(0.0005)
    replica = transport.start("a")
    running = transport.dispatcher.generate(request("running", tokens=100_000))
    await anext(running)
    transport.replicas = {"b": other} | transport.replicas
    transport.dispatcher.fleet_changed(frozenset(transport.replicas))
    elsewhere = transport.dispatcher.generate(request("elsewhere", tokens=100_000))
    await anext(elsewhere)
    replica.garbled = [trouble]
    with pytest.raises(ReplicaFailed):
        async for _ in running:
            pass
    await anext(elsewhere)
    await elsewhere.aclose()
    await transport.leave("b").host.stop()
    assert tokens(await answer(transport, request("next"))) == expected(request("next"))


async def test_a_consumer_that_awaits_between_two_lists_loses_nothing(transport: FakeTransport) -> None:
    replica = transport.start("a")
    events = []
    async for some in transport.dispatcher.generate(asked := request(tokens=50)):
        events += some
        await until(lambda: replica.loops[0].alive == 0)
        await asyncio.sleep(0.02)  # the rest is here by now, and so is the end of the call
    assert tokens(events) == expected(asked)


async def test_with_no_replica_a_request_is_refused_after_a_bounded_wait() -> None:
    transport = FakeTransport()
    transport.dispatcher = Dispatcher(transport, route_s=0.01)
    with pytest.raises(NotReady, match=r"No replica took the request within 0\.01 s") as refused:
        await answer(transport, request())
    assert refused.value.retry_after_s == dispatching.UNROUTED_RETRY_S
    await transport.dispatcher.close()


async def test_a_request_that_a_replica_took_is_not_bound_by_the_wait_for_one() -> None:
    transport = FakeTransport()
    transport.dispatcher = Dispatcher(transport, route_s=0.05)
    replica = transport.start("a", step_s=0.05)
    assert tokens(await answer(transport, request(tokens=4))) == expected(request(tokens=4))
    await transport.dispatcher.close()
    await replica.host.stop()


async def test_idle_is_when_the_last_request_ended(transport: FakeTransport) -> None:
    transport.start("a", step_s=0.005)
    await transport.dispatcher.idle()
    asked = [asyncio.create_task(answer(transport, request(str(at), tokens=at + 1))) for at in range(3)]
    await asyncio.sleep(0)
    await transport.dispatcher.idle()
    assert all(one.done() or not one.cancelled() for one in asked)
    assert [len(tokens(await one)) for one in asked] == [1, 2, 3]
