"""Host copies at each moment: leases pin them, idle ones make room."""

from __future__ import annotations

import asyncio

import pytest

from service.adapters.counts import StoreTally
from service.adapters.host_copies import HostCopies, HostCopy
from service.adapters.loader import Loaded
from tests.fakes import FakeClock
from tests.service.adapters.stub_loader import Weights, ref, until


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tally() -> StoreTally:
    return StoreTally(30)


@pytest.fixture
def copies(clock: FakeClock, tally: StoreTally) -> HostCopies[Weights]:
    return HostCopies(30, clock, tally)


def add(copies: HostCopies[Weights], name: str) -> HostCopy[Weights]:
    return copies.add(ref(name), Loaded(Weights(), 10, 0.1))


def names(copies: HostCopies[Weights]) -> str:
    return " ".join(resident.ref.name for resident in copies.residency())


async def test_what_is_leased_is_not_evicted(copies: HostCopies[Weights]) -> None:
    copy = add(copies, "a")
    first, second = copies.lease(copy), copies.lease(copy)
    assert copies.find(ref("a").digest) is copy
    first.release()
    assert not copies.evict(ref("a").digest)
    second.release()
    assert copies.evict(ref("a").digest)
    assert copies.find(ref("a").digest) is None
    assert copies.nbytes == 0


async def test_room_is_made_of_the_longest_idle(
    copies: HostCopies[Weights], clock: FakeClock, tally: StoreTally
) -> None:
    for name in "abc":
        copies.lease(add(copies, name)).release()
        clock.advance(1)
    assert [resident.idle_s for resident in copies.residency()] == [3, 2, 1]
    assert copies.can_make_room(10)
    assert names(copies) == "a b c"
    assert copies.make_room(10)
    assert names(copies) == "b c"
    assert tally.seen().evictions == 1


async def test_where_leases_pin_too_much_nothing_is_evicted(copies: HostCopies[Weights]) -> None:
    copies.lease(add(copies, "a"))
    add(copies, "b")
    assert not copies.make_room(25)
    assert names(copies) == "a b"


async def test_room_is_waited_for_until_a_lease_ends_or_the_time_is_over(
    copies: HostCopies[Weights], clock: FakeClock
) -> None:
    lease = copies.lease(add(copies, "a"))
    late = asyncio.create_task(copies.wait_for_room(30, clock.now() + 5))
    await until(lambda: len(clock._sleepers) == 1)
    clock.advance(5)
    assert not await late
    in_time = asyncio.create_task(copies.wait_for_room(30, clock.now() + 5))
    await until(lambda: len(clock._sleepers) == 2)
    lease.release()
    assert await in_time
    assert names(copies) == "a", "it only waits"
