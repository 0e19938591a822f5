"""The store's invariants after every step of random schedules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.lease import Lease
from service.adapters.store import AdapterStore
from service.errors import AdapterFailed, AdapterIncompatible, Overloaded
from service.settings import AdapterOptions
from tests.fakes import FakeClock
from tests.service.adapters.stub_loader import StubLoader, Weights, ref

NAMES = "abcdefgh"
BOUND, THREADS, ROOM_WAIT_S = 40, 2, 5.0
SIZES = {name: 4 + 5 * index for index, name in enumerate(NAMES)}  # the largest, 39, fits alone; none is too large
FAILING = "h"

STEPS = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from(NAMES)),
    st.tuples(st.just("release"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("evict"), st.sampled_from(NAMES)),
    st.tuples(st.just("advance"), st.sampled_from([0.1, 1.0, 6.0])),
    st.tuples(st.just("settle"), st.just(0)),
)


@dataclass
class World:
    """A store, and what its users hold and wait for."""

    stub: StubLoader = field(default_factory=StubLoader)
    clock: FakeClock = field(default_factory=FakeClock)
    leases: list[Lease[Weights]] = field(default_factory=list)
    waiting: list[asyncio.Task[Lease[Weights]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stub.sizes = {ref(name).digest: size for name, size in SIZES.items()}
        self.stub.errors = {ref(FAILING).digest: AdapterFailed("down")}
        options = AdapterOptions(host_bytes=BOUND, load_threads=THREADS, retry_after_s=2.0)
        self.store = AdapterStore(self.stub, options, self.clock, ROOM_WAIT_S)

    async def step(self, verb: str, value: object) -> None:
        match verb, value:
            case "acquire", str(name):
                self.waiting.append(asyncio.create_task(self.store.acquire(ref(name))))
            case "release", int(index) if self.leases:
                self.leases.pop(index % len(self.leases)).release()
            case "cancel", int(index) if self.waiting:
                self.waiting[index % len(self.waiting)].cancel()
            case "evict", str(name):
                self.store.evict(ref(name).digest)
            case "advance", float(seconds):
                self.clock.advance(seconds)
            case "settle", _:
                await asyncio.sleep(0.002)
        for _ in range(3):
            await asyncio.sleep(0)
        self.collect()

    def collect(self) -> None:
        """Turn what has been answered into leases; anything but a known refusal is a failure of the test."""
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                self.leases.append(task.result())
            else:
                assert isinstance(error, AdapterFailed | Overloaded), error
                assert not isinstance(error, AdapterIncompatible)

    def check(self) -> None:
        ready = {entry.ref.digest: entry for entry in self.store.residency() if entry.state == "ready"}
        assert self.store.resident_bytes == sum(entry.nbytes for entry in ready.values()) <= BOUND
        assert self.stub.most_running <= THREADS
        assert not self.stub.twice, "one digest was loaded twice at once"
        for lease in self.leases:
            # Raises if the store took the weights of a running lease away.
            assert isinstance(lease.adapter, Weights)
            assert ready[lease.ref.digest].leases >= 1, "a leased adapter was evicted"

    async def finish(self) -> None:
        """With everything released and time passing, every request is answered and no lease is left."""
        async with asyncio.timeout(60):
            while self.waiting:
                for lease in self.leases:
                    lease.release()
                self.leases.clear()
                self.clock.advance(1)
                await asyncio.sleep(0.001)
                self.collect()
        for lease in self.leases:
            lease.release()
        assert all(not entry.leases for entry in self.store.residency())
        await self.store.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_invariants(steps: list[tuple[str, object]]) -> None:
    async def run() -> None:
        world = World()
        for verb, value in steps:
            await world.step(verb, value)
            world.check()
        await world.finish()

    asyncio.run(run())
