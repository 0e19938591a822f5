"""What engine, adapter store, fleet and feedback log count of themselves."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from service.adapters.store import AdapterStore
from service.dispatch import dispatcher as dispatching
from service.dispatch.dispatcher import Dispatcher
from service.errors import AdapterFailed, QuickchangeError, ReplicaFailed
from service.feedback.port import Ask
from service.feedback.store import FeedbackStore
from service.report import ReplicaReport, fleet_report
from service.serve.engine_host import EngineHost
from service.serve.parts import Parts
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import AdapterOptions
from service.values import Failure
from tests.service.adapters.stub_loader import StubLoader, ref
from tests.service.engine.simulated import adapter, request, simulated_engine
from tests.service.feedback.examples import ACME, OPTIONS, good, response
from tests.service.serve.fake_engine import SERVED, FakeLoop, FakeStore, announce

T = TypeVar("T")

# -- the engine -----------------------------------------------------------------------------------------------


def test_an_engine_counts_steps_rows_and_queueing() -> None:
    engine, runner = simulated_engine(batch_tokens=8, running=1)
    engine.submit(request("a", range(1, 9), 3, n=2, ignore_eos=True), None)
    before = engine.snapshot()
    assert (before.running, before.waiting, before.queue_s.count) == (0, 2, 0)
    engine.step()
    between = engine.snapshot()
    assert (between.running, between.waiting, between.queue_s.count) == (1, 1, 1)
    while engine.has_work():
        engine.step()
    after = engine.snapshot()
    assert (after.running, after.waiting) == (0, 0)
    assert after.queue_s.count == 2
    assert after.steps == after.step_s.count == after.rows.count == len(runner.plans)
    assert after.rows.total == sum(plan.rows for plan in runner.plans)
    assert after.sequences.total == sum(len(plan.chunks) for plan in runner.plans)
    # The second choice finds the first block of the first; its last token is always computed.
    assert (after.prompt_tokens, after.prefix_hit_tokens) == (16, 4)


def test_an_engine_names_the_adapters_that_run_and_wait() -> None:
    engine, _ = simulated_engine(running=2)
    for number, digest in enumerate(["b", "", "c", "c", "d"]):
        engine.submit(request(f"r{number}", [1, 2], 8, ignore_eos=True), adapter(digest) if digest else None)
    engine.step()
    seen = engine.snapshot()
    assert (seen.running_digests, seen.waiting_digests) == (("b",), ("c", "d"))


def test_an_engine_counts_what_goes_wrong() -> None:
    engine, runner = simulated_engine(blocks=4, block_tokens=2, batch_tokens=8, prefix_cache=False)
    engine.submit(request("a", [1, 2], 5, ignore_eos=True), None)
    engine.submit(request("b", [3, 4], 5, ignore_eos=True), None)
    while engine.has_work():
        engine.step()
    seen = engine.snapshot()
    assert seen.preemptions > 0
    assert seen.queue_s.count == 2, "who waits again was counted already"
    runner.fail_next = True
    engine.submit(request("c", [1, 2]), None)
    engine.step()
    failed = engine.snapshot()
    assert (failed.failed_steps, failed.step_s.count) == (1, seen.step_s.count)


# -- the adapter store ----------------------------------------------------------------------------------------


async def test_a_store_counts_hits_loads_failures_and_evictions() -> None:
    loader = StubLoader()
    store = AdapterStore(loader, AdapterOptions(host_bytes=20, load_threads=2, retry_after_s=60.0))
    for name in ("a", "b", "a", "c"):  # the third evicts one of two
        (await store.acquire(ref(name))).release()
    loader.errors[ref("d").digest] = AdapterFailed("no registry")
    for _ in range(2):
        with pytest.raises(QuickchangeError):
            await store.acquire(ref("d"))
    counts = store.counts()
    assert (counts.hits, counts.misses, counts.refused, counts.evictions) == (1, 4, 1, 1)
    assert counts.failures == {"adapter_failed": 1}
    assert (counts.slab_s.count, counts.slab_s.total) == (3, pytest.approx(0.3))
    assert counts.fetch_s.count == 0
    assert counts.host_bytes == 20
    await store.close()


# -- the fleet ------------------------------------------------------------------------------------------------


class Fleet:
    """Three replicas: one well, one dead, one that hangs."""

    def __init__(self) -> None:
        self.host = EngineHost(Parts(SERVED, FakeStore(), partial(FakeLoop), announce, disk_bytes=lambda: 7))

    async def inspect(self, replica_id: str) -> ReplicaReport:
        if replica_id == "dead":
            raise ReplicaFailed("gone")
        if replica_id == "hangs":
            await asyncio.Event().wait()
        return self.host.inspect()

    async def frames(self, replica_id: str):  # type: ignore[no-untyped-def]
        await asyncio.Event().wait()
        yield []


async def test_what_answers_is_told_and_what_does_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "INSPECT_S", 0.05)
    fleet = Fleet()
    dispatcher = Dispatcher(fleet, route_s=30.0)  # type: ignore[arg-type]
    dispatcher.fleet_changed(frozenset({"dead", "hangs", "well"}))
    await asyncio.sleep(0)
    report = fleet_report(await dispatcher.inspect())
    assert list(report.replicas) == ["well"]
    assert report.silent == ("dead", "hangs")
    assert (report.replicas["well"].served, report.replicas["well"].disk_bytes) == (SERVED, 7)
    await dispatcher.close()
    await fleet.host.stop()


# -- feedback -------------------------------------------------------------------------------------------------


async def hang(ask: Ask[T]) -> T | Failure:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_feedback_log_says_how_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeedbackStore(tmp_path, OPTIONS)
    client = RecorderClient(StoreOwner(lambda: store).answer, 1 << 20)
    empty = await client.inspect()
    assert empty is not None
    assert empty.commit_s.count == 0
    client.keep(response("r"))
    await client.flush()
    await client.accept([good("r")], ACME)
    full = await client.inspect()
    assert full is not None
    assert full.commit_s.count == 1
    on_disk = sum(path.stat().st_size for path in (tmp_path / "events").glob("*.seg"))
    assert full.log_bytes == on_disk > empty.log_bytes
    assert full.response_bytes > empty.response_bytes
    monkeypatch.setattr("service.serve.recorder_client.INSPECT_S", 0.05)
    assert await RecorderClient(hang, 1 << 20).inspect() is None
    await store.close()
