"""Who is let in and who goes: decided on states, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters_registry.edge.bounds import MOST, Bounds, ConnectionLimits, bounds
from adapters_registry.edge.connections import Connections, Reason, State, client_of
from adapters_registry.support.loopback import is_loopback

BOUNDS = Bounds(total=6, per_address=4, per_loopback=5, head_s=10, idle_s=75, stall_s=60, header_bytes=1000)


def test_the_longest_silent_goes_then_the_longest_idle_then_the_newcomer() -> None:
    held: Connections[str] = Connections(BOUNDS)
    for at, name in enumerate(("busy", "idle", "old", "new")):
        assert held.opened(name, "a", at) is None
    held.moved("busy", State.BUSY, 4)
    held.moved("idle", State.IDLE, 4)
    assert held.opened("5", "a", 5) == ("old", Reason.MADE_ROOM)
    assert held.opened("6", "a", 6) == ("new", Reason.MADE_ROOM)
    for name in ("5", "6"):
        held.moved(name, State.BUSY, 7)
    assert held.opened("7", "a", 8) == ("idle", Reason.MADE_ROOM)
    held.moved("7", State.BUSY, 8)
    assert held.opened("8", "a", 9) == ("8", Reason.ADDRESS_FULL)
    assert held.opened("9", "b", 9) is None
    assert held.opened("10", "b", 9) is None
    assert held.opened("11", "b", 9) == ("9", Reason.MADE_ROOM)
    for name in ("10", "11"):
        held.moved(name, State.BUSY, 10)
    assert held.opened("12", "c", 10) == ("12", Reason.FULL)
    assert held.report().open == 6


def test_who_kept_quiet_for_too_long() -> None:
    held: Connections[str] = Connections(BOUNDS)
    for name in ("opening", "idle", "busy", "leaving"):
        held.opened(name, "a", 0)
    held.moved("idle", State.IDLE, 0)
    held.moved("busy", State.BUSY, 0)
    held.moved("leaving", State.LEAVING, 0)

    def due(now: float) -> list[tuple[str, State]]:
        found = []
        for one in held.overdue(now):
            found.append(one)
            held.closed(one[0])
        return found

    assert due(9.9) == []
    assert due(10) == [("opening", State.OPENING)]
    assert due(60) == [("leaving", State.LEAVING)]
    assert due(1e9) == [("idle", State.IDLE)]
    assert held.report().open == 1


steps = st.lists(
    st.tuples(st.integers(0, 19), st.sampled_from("abc"), st.sampled_from([*State, "open", "close"])), max_size=200
)


@given(steps)
def test_the_bounds_hold_and_what_is_busy_stays(given_steps: list[tuple[int, str, object]]) -> None:
    held: Connections[int] = Connections(BOUNDS)
    alive: dict[int, tuple[str, State]] = {}
    for now, (who, address, step) in enumerate(given_steps):
        if step == "open" and who not in alive:
            alive[who] = (address, State.OPENING)
            goes = held.opened(who, address, now)
            if goes is not None:
                if goes[0] != who:
                    assert alive[goes[0]][1] in (State.OPENING, State.IDLE)
                del alive[goes[0]]
        elif step == "close":
            alive.pop(who, None)
            held.closed(who)
        elif isinstance(step, State):
            held.moved(who, step, now)
            if who in alive:
                alive[who] = (alive[who][0], step)
        assert held.report().open == len(alive) <= BOUNDS.total
        for one in "abc":
            assert sum(address == one for address, _ in alive.values()) <= BOUNDS.per_address


@pytest.mark.parametrize(
    ("limits", "descriptors", "total", "per_address", "per_loopback"),
    [
        ({}, 1024, 768, 384, 768),
        ({}, 1 << 20, MOST, MOST // 2, MOST),
        ({"total": 100}, 1024, 100, 50, 100),
        ({"total": 100, "per_address": 70}, 1024, 100, 70, 70),
        ({"total": 5000}, 1024, 768, 384, 768),
        ({"per_address": 5000}, 1024, 768, 768, 768),
        ({}, 3, 2, 1, 2),
    ],
)
def test_bounds_of_a_process(
    limits: dict[str, int], descriptors: int, total: int, per_address: int, per_loopback: int
) -> None:
    found = bounds(ConnectionLimits(**limits), 1000, descriptors)  # type: ignore[arg-type]
    assert (found.total, found.per_address, found.per_loopback) == (total, per_address, per_loopback)


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
                                              ("2001:db8::1", False), ("10.0.0.1", False), ("", False)])  # fmt: skip
def test_this_machine_s_own_addresses(address: str, own: bool) -> None:
    assert is_loopback(client_of(address)) == own


def test_loopback_has_a_share_of_its_own() -> None:
    held: Connections[int] = Connections(BOUNDS)
    for at in range(5):
        assert held.opened(at, "127.0.0.1", at) is None
    assert held.opened(5, "127.0.0.1", 5) == (0, Reason.MADE_ROOM)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_whose_share_an_address_takes(address: str, whose: str) -> None:
    assert client_of(address) == whose


def test_no_address_has_more_than_all() -> None:
    with pytest.raises(ValidationError, match="per_address"):
        ConnectionLimits(total=10, per_address=11)
