"""Shares: never more than there is, never all of it to one, first come within a tenant."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.edge.shares import Gate, NoPlace, Shares, Ticket, WaitQueue, fits

places = st.integers(1, 40)
shares = st.floats(0.05, 1.0)
takes = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3), st.booleans()), max_size=80)


@given(places, shares, takes)
def test_books_are_right_whatever_is_taken_and_given_back(bound: int, share: float, moves: list) -> None:
    gate, held = Shares(bound, share), dict.fromkeys("abcd", 0)
    for tenant, n, back in moves:
        if back and held[tenant] >= n:
            gate.give_back(tenant, n)
            held[tenant] -= n
        elif not back:
            fitted = gate.fits(tenant, n)
            assert gate.take(tenant, n) == fitted
            held[tenant] += n * fitted
        assert {tenant: gate.held(tenant) for tenant in held} == held
        assert gate.used == sum(held.values()) <= bound


@given(places, st.floats(0.05, 0.95), takes)
def test_whoever_holds_a_place_never_takes_the_last_one(bound: int, share: float, moves: list) -> None:
    gate = Shares(bound, share)
    for tenant, n, _ in moves:
        newcomer = gate.held(tenant) == 0
        if gate.take(tenant, n) and not newcomer:
            assert gate.used < bound


@given(places, st.floats(0.05, 0.95))
def test_one_alone_gets_its_share(bound: int, share: float) -> None:
    gate = Shares(bound, share)
    while gate.take("a"):
        pass
    assert gate.used == max(1, gate.used) <= max(1, share * (bound + 1) + 1e-6)
    assert gate.used >= min(bound - 1, int(share * (bound + 1) - 1e-6))


@given(places)
def test_where_nobody_else_can_come_one_gets_all(bound: int) -> None:
    gate = Shares(bound)
    while gate.take("a", alone=True):
        pass
    assert gate.used == bound


def test_the_first_ones_fit_whatever_their_number() -> None:
    assert fits(16, 0, 16)
    assert not fits(15, 1, 15)
    assert not fits(15, 0, 16)


def test_a_share_in_words() -> None:
    gate = Shares(16)
    for tenant in "abcdef":
        while gate.take(tenant):
            pass
    assert repr(gate) == "<Shares 16/16: a 8 | b 4 | c 2 | d 1 | e 1>"


@given(places, shares, st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=80))
def test_a_line_serves_first_come_within_a_tenant_and_nobody_waits_who_may_go(
    bound: int, share: float, moves: list
) -> None:
    gate = Shares(bound, share)
    line, waiting, inside = WaitQueue(gate), list[Ticket](), list[Ticket]()
    for number, (tenant, leave) in enumerate(moves):
        if leave and (waiting or inside):
            out = (inside or waiting).pop(number % len(inside or waiting))
            line.leave(out)
            line.leave(out)
        else:
            waiting.append(ticket := Ticket(number))
            line.join(ticket, tenant)
        while (served := line.next()) is not None:
            mine = [ticket for ticket in waiting if ticket.tenants == served.tenants]
            assert served is mine[0]
            waiting.remove(served)
            inside.append(served)
        assert gate.used == len(inside) <= bound
        assert not any(gate.fits(ticket.tenants[0]) for ticket in waiting)


def test_the_tenant_that_holds_least_goes_first() -> None:
    gate = Shares(8, share=1.0)
    line = WaitQueue(gate)
    for number, tenant in enumerate("aaab"):
        line.join(Ticket(number), tenant)
    assert [line.next().holder for _ in range(4)] == ["a", "b", "a", "a"]  # type: ignore[union-attr]


def test_a_ticket_in_two_queues_takes_one_place() -> None:
    gate = Shares(4, share=1.0)
    line, both = WaitQueue(gate), Ticket(0)
    line.join(both, "a")
    line.join(both, "b")
    line.join(both, "b")
    assert line.next() is both
    assert line.next() is None
    assert gate.used == 1
    line.leave(both)
    assert gate.used == 0


async def test_a_gate_lets_another_tenant_in_beside_one_that_holds_its_share() -> None:
    gate = Gate(2)
    async with gate.place("a"):
        with pytest.raises(NoPlace, match="1 of them the tenant's own"):
            async with gate.place("a", patience_s=0.0):
                pytest.fail("its share is taken")
        async with gate.place("b", patience_s=60.0):
            pass
    async with gate.place("a", patience_s=60.0):
        pass


async def test_who_is_alone_may_have_all_places_of_a_gate() -> None:
    gate = Gate(2)
    async with gate.place("a", alone=True), gate.place("a", 60.0, alone=True):
        assert gate.shares.used == 2


async def test_who_is_cancelled_while_waiting_leaves_the_line() -> None:
    gate = Gate(1)
    async with gate.place("a"):
        waiting = asyncio.create_task(_pass(gate, "b"))
        await asyncio.sleep(0)
        waiting.cancel()
        next_one = asyncio.create_task(_pass(gate, "c"))
        await asyncio.sleep(0)
    await next_one
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await _pass(gate, "a")


async def _pass(gate: Gate, tenant: str) -> None:
    async with gate.place(tenant):
        pass
