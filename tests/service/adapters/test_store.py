"""The store at each moment: single flight, leases, room, failures; and that memory really comes back."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace

import psutil
import pytest
import torch
from torch import Tensor

from adapters_registry.manifest import BaseManifest
from service.adapters.lease import Lease
from service.adapters.loader import SlabLoader
from service.adapters.store import AdapterStore
from service.errors import (
    AdapterFailed,
    AdapterIncompatible,
    AdapterQuarantined,
    NonFiniteLogits,
    Overloaded,
    QuickchangeError,
)
from service.settings import AdapterOptions
from service.values import AdapterSet
from tests.fakes import FakeClock, FakeSource
from tests.service.adapters.stub_loader import StubLoader, Weights, ref, until
from tests.service.adapters.versions import WIDE, publish


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stub() -> StubLoader:
    return StubLoader()


@pytest.fixture
async def store(stub: StubLoader, clock: FakeClock) -> AsyncIterator[AdapterStore[Weights]]:
    options = AdapterOptions(host_bytes=30, load_threads=3, retry_after_s=2.0)
    store = AdapterStore(stub, options, clock, room_wait_s=5.0)
    yield store
    stub.gate.set()
    await store.close()


async def test_the_leases_of_a_set_come_together_or_not_at_all(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    leases = await store.acquire_all(AdapterSet((ref("a"), ref("b"))))
    assert len(set(leases.adapters)) == 2
    assert leased(store) == {"a": 1, "b": 1}
    leases.release()
    stub.errors[ref("broken").digest] = AdapterFailed("down")
    with pytest.raises(AdapterFailed):
        await store.acquire_all(AdapterSet((ref("a"), ref("broken"))))
    assert leased(store) == {"a": 0, "b": 0, "broken": 0}
    stub.gate.clear()
    given_up = asyncio.create_task(store.acquire_all(AdapterSet((ref("a"), ref("c")))))
    await until(lambda: len(stub.running) == 1)
    assert leased(store)["a"] == 1
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert leased(store) == {"a": 0, "b": 0, "broken": 0, "c": 0}


def leased(store: AdapterStore[Weights]) -> dict[str, int]:
    """By name; 0 where nobody holds or wants it."""
    return {resident.ref.name: resident.leases for resident in store.residency()}


async def touch(store: AdapterStore[Weights], name: str) -> None:
    (await store.acquire(ref(name))).release()


async def touch_for(store: AdapterStore[Weights], name: str, tenant: str) -> None:
    """Released at once: leases that are kept could pin all memory before the last one has loaded."""
    (await store.acquire(ref(name), tenant)).release()


async def test_states_as_they_pass(store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock) -> None:
    assert repr(store) == "<AdapterStore 0.0/0.0 MiB: empty>"
    stub.gate.clear()
    pending = [asyncio.create_task(store.acquire(ref("a"))) for _ in range(3)]
    await until(lambda: len(stub.running) == 1)
    assert repr(store) == "<AdapterStore 0.0/0.0 MiB: acme/a@1 fetching 3 waiting>"
    stub.gate.set()
    first, second, third = await asyncio.gather(*pending)
    assert repr(store) == "<AdapterStore 0.0/0.0 MiB: acme/a@1 ready 3 leases>"
    assert first.adapter is second.adapter is third.adapter
    for lease in (first, second, third, third):
        lease.release()
    stub.errors[ref("b").digest] = AdapterFailed("down")
    with pytest.raises(AdapterFailed):
        await store.acquire(ref("b"))
    clock.advance(0.5)
    assert repr(store) == "<AdapterStore 0.0/0.0 MiB: acme/a@1 ready idle | acme/b@1 failed, retry in 1.5 s>"
    assert stub.loads == {ref("a").digest: 1, ref("b").digest: 1}


async def test_a_lease_is_a_context_and_ends_once(store: AdapterStore[Weights]) -> None:
    with await store.acquire(ref("a")) as one:
        with await store.acquire(ref("a")):
            assert store.residency()[0].leases == 2
        one.release()
    assert store.residency()[0].leases == 0
    with pytest.raises(AttributeError):
        _ = one.adapter


async def test_different_adapters_load_in_parallel_within_the_pool(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    stub.gate.clear()
    pending = [asyncio.create_task(store.acquire(ref(name))) for name in "abc"]
    await until(lambda: len(stub.running) == 2)
    stub.gate.set()
    for lease in await asyncio.gather(*pending):
        lease.release()
    assert stub.most_running == 2


async def test_the_third_failure_within_a_while_quarantines(
    store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock
) -> None:
    lease = await store.acquire(ref("a"))
    store.blame(ref("a"))
    clock.advance(301.0)
    store.blame(ref("a"))
    store.blame(ref("a"))
    (await store.acquire(ref("a"))).release()
    store.blame(ref("a"))
    with pytest.raises(AdapterQuarantined) as refused:
        await store.acquire(ref("a"))
    assert refused.value.retry_after_s == 300.0
    assert lease.adapter is not None
    lease.release()
    assert [one.state for one in store.residency()] == ["ready", "quarantined"]
    assert store.counts().quarantines == {"requests": 1}
    await touch(store, "b")
    (await store.acquire(replace(ref("a"), tenant="globex"))).release()
    clock.advance(300.0)
    await touch(store, "a")


async def test_an_adapter_that_fails_its_trial_is_quarantined(
    store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock
) -> None:
    stub.errors[ref("a").digest] = NonFiniteLogits("trial")
    for _ in range(3):
        with pytest.raises(NonFiniteLogits):
            await store.acquire(ref("a"))
    assert stub.loads[ref("a").digest] == 1
    assert (store.residency()[0].state, store.counts().quarantines) == ("quarantined", {"trial": 1})
    clock.advance(300.0)
    stub.errors.clear()
    await touch(store, "a")


async def test_a_cancelled_caller_cancels_nobody_else(store: AdapterStore[Weights], stub: StubLoader) -> None:
    stub.gate.clear()
    gone, stays = (asyncio.create_task(store.acquire(ref("a"))) for _ in range(2))
    await until(lambda: len(stub.running) == 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    stub.gate.set()
    lease = await stays
    assert store.residency()[0].leases == 1
    lease.release()


async def test_a_caller_cancelled_as_the_lease_arrives_leaks_none(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    stub.gate.clear()
    caller = asyncio.create_task(store.acquire(ref("a")))
    await until(lambda: len(stub.running) == 1)
    loads = store._loads
    admit = loads._admit

    def admit_then_cancel(*args: object) -> None:
        admit(*args)  # type: ignore[arg-type]
        caller.cancel()

    loads._admit = admit_then_cancel  # type: ignore[method-assign]
    stub.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [(entry.state, entry.leases) for entry in store.residency()] == [("ready", 0)]


async def test_a_queued_load_that_nobody_wants_any_more_is_not_made(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    stub.gate.clear()
    pending = [asyncio.create_task(store.acquire(ref(name))) for name in "abc"]
    await until(lambda: len(stub.running) == 2)
    pending[2].cancel()
    await asyncio.gather(pending[2], return_exceptions=True)
    stub.gate.set()
    for lease in await asyncio.gather(*pending[:2]):
        lease.release()
    await until(lambda: len(store.residency()) == 2)
    assert stub.loads[ref("c").digest] == 0


async def test_the_least_recently_used_idle_one_makes_room(store: AdapterStore[Weights], clock: FakeClock) -> None:
    for name in "abc":
        await touch(store, name)
        clock.advance(1)
    await touch(store, "a")
    pinned = await store.acquire(ref("b"))
    clock.advance(1)
    await touch(store, "d")
    assert {entry.ref.name for entry in store.residency()} == {"a", "b", "d"}
    pinned.release()


async def test_a_failed_load_evicts_nothing(store: AdapterStore[Weights], stub: StubLoader) -> None:
    for name in "abc":
        await touch(store, name)
    stub.errors[ref("d").digest] = AdapterFailed("down")
    with pytest.raises(AdapterFailed):
        await store.acquire(ref("d"))
    assert {entry.ref.name for entry in store.residency() if entry.state == "ready"} == {"a", "b", "c"}


async def test_a_failure_is_remembered_until_its_retry_time(
    store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock
) -> None:
    stub.errors[ref("a").digest] = AdapterFailed("down")
    callers = await asyncio.gather(*(store.acquire(ref("a")) for _ in range(3)), return_exceptions=True)
    assert [(type(error), error.retry_after_s) for error in callers] == [(AdapterFailed, 2.0)] * 3  # type: ignore[union-attr]
    assert len({id(error) for error in callers}) == 3
    clock.advance(1)
    with pytest.raises(AdapterFailed) as again:
        await store.acquire(ref("a"))
    assert again.value.retry_after_s == 1.0
    assert stub.loads[ref("a").digest] == 1
    del stub.errors[ref("a").digest]
    clock.advance(1)
    await touch(store, "a")
    assert stub.loads[ref("a").digest] == 2


async def test_a_defect_fails_its_own_requests_only(
    store: AdapterStore[Weights], stub: StubLoader, caplog: pytest.LogCaptureFixture
) -> None:
    stub.errors[ref("a").digest] = ZeroDivisionError("secret detail")
    with pytest.raises(AdapterFailed, match="internal error") as error:
        await store.acquire(ref("a"))
    assert "secret" not in error.value.message
    assert "ZeroDivisionError" in caplog.text
    await touch(store, "b")


async def test_a_failure_names_no_tenant(store: AdapterStore[Weights], stub: StubLoader) -> None:
    """The same bytes may be another tenant's too, who hears of the same failure."""
    theirs = replace(ref("a"), tenant="globex", name="other")
    stub.errors[theirs.digest] = ZeroDivisionError()
    for one in (theirs, ref("a")):
        with pytest.raises(AdapterFailed, match=theirs.digest) as error:
            await store.acquire(one)
        assert "globex" not in error.value.message
    stub.errors.clear()
    larger = replace(ref("b"), tenant="globex", name="other")
    stub.sizes[larger.digest] = 31
    for one in (larger, ref("b")):
        with pytest.raises(AdapterIncompatible, match=larger.digest) as refused:
            await store.acquire(one)
        assert "globex" not in refused.value.message


async def test_an_adapter_larger_than_the_store_can_never_run(store: AdapterStore[Weights], stub: StubLoader) -> None:
    await touch(store, "a")
    stub.sizes[ref("b").digest] = 31
    for _ in range(2):
        with pytest.raises(AdapterIncompatible, match=r"adapters\.host_bytes"):
            await store.acquire(ref("b"))
    assert stub.loads[ref("b").digest] == 1
    assert store.resident_bytes == 10


async def test_a_newcomer_waits_for_a_lease_to_end(store: AdapterStore[Weights], clock: FakeClock) -> None:
    leases = [await store.acquire(ref(name)) for name in "abc"]
    newcomer = asyncio.create_task(store.acquire(ref("d")))
    await until(lambda: len(clock._sleepers) == 1)
    leases[1].release()
    (await newcomer).release()
    assert {entry.ref.name for entry in store.residency()} == {"a", "c", "d"}


async def test_no_room_in_time_is_overload_and_not_held_against_the_adapter(
    store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock
) -> None:
    leases = [await store.acquire(ref(name)) for name in "abc"]
    newcomer = asyncio.create_task(store.acquire(ref("d")))
    await until(lambda: len(clock._sleepers) == 1)
    clock.advance(5)
    with pytest.raises(Overloaded) as error:
        await newcomer
    assert error.value.retry_after_s == 2.0
    leases[0].release()
    await touch(store, "d")


async def test_what_waits_for_room_holds_no_load_slot(
    store: AdapterStore[Weights], stub: StubLoader, clock: FakeClock
) -> None:
    """All memory is pinned but for a little, and more newcomers than load slots wait for it."""
    stub.sizes[ref("small").digest] = 3
    leases = [await store.acquire(ref(name)) for name in "ab"]
    stub.sizes[ref("c").digest] = 7
    leases.append(await store.acquire(ref("c")))
    waiting = [asyncio.create_task(store.acquire(ref(name))) for name in "defgh"]
    await until(lambda: len(clock._sleepers) == 5)
    await touch(store, "small")
    for lease in leases:
        lease.release()
    for lease in await asyncio.gather(*waiting[:3]):
        lease.release()
    for lease in await asyncio.gather(*waiting[3:]):
        lease.release()


async def test_a_tenant_whose_loads_do_not_end_leaves_a_slot_to_others(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    stub.gate.clear()
    slow = [asyncio.create_task(store.acquire(ref(name), "acme")) for name in "abcdef"]
    await until(lambda: len(stub.running) == 2)
    theirs = asyncio.create_task(store.acquire(ref("x"), "globex"))
    await until(lambda: ref("x").digest in stub.running)
    for task in slow:
        task.cancel()
    stub.gate.set()
    (await theirs).release()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_who_wants_what_another_tenant_queued_does_not_stand_behind_its_other_loads(
    store: AdapterStore[Weights], stub: StubLoader
) -> None:
    stub.gate.clear()
    slow = [asyncio.create_task(touch_for(store, name, "acme")) for name in "abcdef"]
    await until(lambda: len(stub.running) == 2)
    shared = asyncio.create_task(touch_for(store, "f", "globex"))
    await until(lambda: ref("f").digest in stub.running)
    stub.gate.set()
    await asyncio.gather(shared, *slow)


async def test_evict_is_for_the_idle(store: AdapterStore[Weights]) -> None:
    lease = await store.acquire(ref("a"))
    assert not store.evict(ref("a").digest)
    lease.release()
    assert store.evict(ref("a").digest)
    assert not store.evict(ref("a").digest)
    assert store.residency() == ()


async def test_close_answers_all_who_wait(stub: StubLoader) -> None:
    store = AdapterStore(stub, AdapterOptions(load_threads=1), FakeClock())
    stub.gate.clear()
    waiting = [asyncio.create_task(store.acquire(ref(name))) for name in "ab"]
    await until(lambda: len(stub.running) == 1)
    await store.close()
    stub.gate.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [AdapterFailed, AdapterFailed]


async def test_an_evicted_adapter_is_freed(store: AdapterStore[Weights]) -> None:
    lease = await store.acquire(ref("a"))
    weights = weakref.ref(lease.adapter)
    lease.release()
    gc.collect()
    assert weights() is not None
    store.evict(ref("a").digest)
    gc.collect()
    assert weights() is None


async def least_rss(process: psutil.Process) -> int:
    """Within a fifth of a second: a loading thread lets go of what it loaded a moment after it has handed it over."""
    seen = []
    for _ in range(20):
        seen.append(process.memory_info().rss)
        await asyncio.sleep(0.01)
    return int(min(seen))


async def test_evicted_bytes_return_to_the_system(
    loader: SlabLoader[dict[str, Tensor]], source: FakeSource, base: BaseManifest
) -> None:
    """Resident memory, measured: 64 MiB of adapters come with the loads and go with the evictions."""
    store = AdapterStore(loader, AdapterOptions())
    refs = [publish(source, base, seed, module=WIDE, rank=64) for seed in range(4)]
    for each in refs:  # the first load fetches, and leaves malloc's own leavings behind
        (await store.acquire(each)).release()
        assert store.evict(each.digest)
    source.files.clear()
    gc.collect()
    process = psutil.Process()

    before = await least_rss(process)
    leases: list[Lease[dict[str, Tensor]]] = [await store.acquire(each) for each in refs]
    held = process.memory_info().rss - before
    assert store.resident_bytes >= 4 * 65536 * 64 * torch.float32.itemsize
    assert held > 0.9 * store.resident_bytes

    for lease in leases:
        lease.release()
        assert store.evict(lease.ref.digest)
    gc.collect()
    assert await least_rss(process) - before < 0.1 * held
    await store.close()


async def test_errors_cross_as_their_own_types(store: AdapterStore[Weights], stub: StubLoader) -> None:
    stub.errors[ref("a").digest] = AdapterIncompatible("wrong base", param="model")
    for _ in range(2):
        with pytest.raises(QuickchangeError) as error:
            await store.acquire(ref("a"))
        assert (type(error.value), error.value.param) == (AdapterIncompatible, "model")
