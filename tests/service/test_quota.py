"""Quota decisions on random histories: never more than the limit in any minute, and what was given back never was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_registry.records import Quotas
from service.errors import QuotaExceeded, QuotaTooSmall
from service.quota import MINUTE_S, Meter, Need, Permit, QuotaBook, Standing, share

Refusal = QuotaExceeded | QuotaTooSmall


def need(tokens: int = 10, adapter: str | None = None, size_bytes: int = 0) -> Need:
    return Need(1, tokens, adapter, size_bytes)


def refused(meter: Meter, quotas: Quotas, now: float, what: Need | None = None) -> Refusal:
    """Why one more request is refused."""
    try:
        permit = Permit(meter, quotas, now)
        if what is not None:
            permit.reserve(what, now)
    except (QuotaExceeded, QuotaTooSmall) as error:
        return error
    pytest.fail("it was let in")


# -- a minute's limit -----------------------------------------------------------------------------------------


def test_requests_by_the_minute() -> None:
    meter, quotas = Meter(), Quotas(requests_per_min=2)
    Permit(meter, quotas, 0.0)
    Permit(meter, quotas, 20.0)
    error = refused(meter, quotas, 30.0)
    assert (error.param, error.retry_after_s) == ("requests_per_min", 30.0)
    refused(meter, quotas, 59.9)
    Permit(meter, quotas, 60.0)
    assert refused(meter, quotas, 60.0).retry_after_s == 20.0


def test_a_refused_request_takes_nothing() -> None:
    meter, quotas = Meter(), Quotas(requests_per_min=1, concurrent=5)
    Permit(meter, quotas, 0.0)
    for _ in range(3):
        refused(meter, quotas, 1.0)
    assert (meter.running, meter.requests.used(1.0)) == (1, 1)


def test_tokens_are_reserved_whole_and_what_was_not_used_comes_back() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100)
    first = Permit(meter, quotas, 0.0)
    first.reserve(need(90), 0.0)
    error = refused(meter, quotas, 1.0, need(20))
    assert (error.param, error.retry_after_s) == ("tokens_per_min", 59.0)
    first.release(30, 2.0)
    Permit(meter, quotas, 3.0).reserve(need(70), 3.0)
    assert meter.tokens.used(3.0) == 100


def test_tokens_that_come_back_after_their_minute_are_nobodys() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100)
    slow = Permit(meter, quotas, 0.0)
    slow.reserve(need(100), 0.0)
    Permit(meter, quotas, 61.0).reserve(need(100), 61.0)
    slow.release(1, 62.0)
    assert meter.tokens.used(62.0) == 100


def test_what_can_never_fit_is_not_told_to_come_back() -> None:
    meter = Meter()
    error = refused(meter, Quotas(tokens_per_min=50), 0.0, need(51))
    assert (type(error), error.param) == (QuotaTooSmall, "tokens_per_min")
    assert "51 tokens" in error.message
    assert "50" in error.message
    big = refused(Meter(), Quotas(resident_bytes=9), 0.0, need(1, "a", 10))
    assert (type(big), big.param) == (QuotaTooSmall, "resident_bytes")


def test_in_flight() -> None:
    meter, quotas = Meter(), Quotas(concurrent=2)
    one, _ = Permit(meter, quotas, 0.0), Permit(meter, quotas, 0.0)
    assert refused(meter, quotas, 0.0).param == "concurrent"
    one.release(0, 0.0)
    Permit(meter, quotas, 0.0)


def test_an_adapter_counts_once_however_many_requests_keep_it() -> None:
    meter, quotas = Meter(), Quotas(resident_bytes=25)
    permits = [Permit(meter, quotas, 0.0) for _ in range(3)]
    permits[0].reserve(need(1, "a", 10), 0.0)
    permits[1].reserve(need(1, "a", 10), 0.0)
    permits[2].reserve(need(1, "b", 10), 0.0)
    assert repr(meter) == "<Meter 3 running, 20 bytes pinned>"
    error = refused(meter, quotas, 0.0, need(1, "c", 10))
    assert (type(error), error.param) == (QuotaExceeded, "resident_bytes")
    permits[0].release(1, 0.0)
    assert meter.pinned_bytes == 20
    permits[1].release(1, 0.0)
    assert meter.pinned_bytes == 10


def test_the_base_keeps_no_bytes() -> None:
    meter = Meter()
    Permit(meter, Quotas(resident_bytes=1), 0.0).reserve(need(1), 0.0)
    assert meter.pinned_bytes == 0


def test_both_or_neither() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100, resident_bytes=5)
    permit = Permit(meter, quotas, 0.0)
    with pytest.raises(QuotaTooSmall):
        permit.reserve(need(60, "a", 6), 0.0)
    assert (meter.tokens.used(0.0), meter.pinned_bytes) == (0, 0)
    permit.release(0, 0.0)
    assert meter.is_idle(0.0)


# -- random histories -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    wait_s: float
    tokens: int
    used: int
    lasts: int
    """Steps until it is released."""


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from([0.0, 0.5, 7.0, 29.5, 30.0, 59.0, 60.0, 61.0]),
        st.integers(1, 40),
        st.integers(0, 40),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 5), st.integers(1, 60), st.integers(1, 4))
@settings(max_examples=300)
def test_no_minute_has_more_than_the_limit(steps: list[Step], requests: int, tokens: int, concurrent: int) -> None:
    """Against the plainest account there is: the list of all that was let in."""
    quotas = Quotas(requests_per_min=requests, tokens_per_min=tokens, concurrent=concurrent)
    meter, now = Meter(), 0.0
    entered: list[float] = []
    held: dict[Permit, tuple[int, float, int]] = {}
    """Each open permit's reserve, its time, and the step when it ends."""
    spent: list[tuple[float, int]] = []
    for number, step in enumerate(steps):
        now += step.wait_s
        for permit, (amount, at, until) in list(held.items()):
            if until <= number:
                used = min(step.used, amount)
                permit.release(used, now)
                spent.append((at, used))
                del held[permit]
        lately = sum(at + MINUTE_S > now for at in entered)
        going = [(at, amount) for amount, at, _ in held.values()]
        taken = sum(amount for at, amount in [*spent, *going] if at + MINUTE_S > now)
        assert meter.tokens.used(now) == taken <= tokens
        assert meter.running == len(held) <= concurrent
        try:
            permit = Permit(meter, quotas, now)
        except QuotaExceeded:
            assert lately == requests or len(held) == concurrent
            continue
        assert lately < requests
        entered.append(now)
        try:
            permit.reserve(need(step.tokens), now)
        except QuotaExceeded:
            assert step.tokens <= tokens < taken + step.tokens
            permit.release(0, now)
            continue
        except QuotaTooSmall:
            assert step.tokens > tokens
            permit.release(0, now)
            continue
        assert taken + step.tokens <= tokens
        held[permit] = (step.tokens, now, number + 1 + step.lasts)


@given(STEPS, st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=300)
def test_who_waits_as_told_is_let_in_and_not_before(steps: list[Step], limit: int, amount: int) -> None:
    quotas, meter, now = Quotas(tokens_per_min=limit), Meter(), 0.0
    amount = min(amount, limit)
    for step in steps:
        now += step.wait_s
        if step.tokens <= limit and not meter.tokens.wait_s(step.tokens, limit, now):
            permit = Permit(meter, quotas, now)
            permit.reserve(need(step.tokens), now)
            if step.lasts < 3:
                permit.release(min(step.used, step.tokens), now)
    wait_s = meter.tokens.wait_s(amount, limit, now)
    if wait_s:
        assert meter.tokens.wait_s(amount, limit, now + wait_s / 2) > 0
    assert meter.tokens.wait_s(amount, limit, now + wait_s) == 0
    assert meter.tokens.used(now + meter.tokens.reset_s(now)) == 0


# -- the book -------------------------------------------------------------------------------------------------


def test_each_key_has_its_own() -> None:
    book, quotas = QuotaBook(), Quotas(requests_per_min=1, tokens_per_min=50)
    book.enter("a", quotas, 0.0).reserve(need(20), 0.0)
    book.enter("b", quotas, 0.0)
    with pytest.raises(QuotaExceeded):
        book.enter("a", quotas, 1.0)
    assert book.standing("a", quotas, 10.0) == (Standing(1, 0, 50.0), Standing(50, 30, 50.0))
    assert book.standing("new", quotas, 10.0) == (Standing(1, 1, 0.0), Standing(50, 50, 0.0))
    assert book.standing("a", Quotas(), 10.0) == (None, None)


def test_keys_that_use_nothing_are_forgotten_and_those_that_run_are_not() -> None:
    book, quotas = QuotaBook(), Quotas(requests_per_min=10)
    running = book.enter("long", quotas, 0.0)
    for number in range(100):
        book.enter(f"key{number}", quotas, 0.0).release(0, 0.0)
    book.enter("now", quotas, 200.0)
    assert len(book) == 2
    running.release(0, 201.0)


@pytest.mark.parametrize(
    ("limit", "gateways", "each"), [(None, 4, None), (10, 1, 10), (10, 2, 5), (10, 4, 2), (3, 4, 1), (100, 3, 33)]
)
def test_gateways_share_a_quota_in_equal_parts_of_at_least_one(
    limit: int | None, gateways: int, each: int | None
) -> None:
    shared = share(Quotas(requests_per_min=limit, concurrent=limit), gateways)
    assert (shared.requests_per_min, shared.concurrent, shared.tokens_per_min) == (each, each, None)


def test_a_shared_book_allows_its_part() -> None:
    book, quotas = QuotaBook(gateways=2), Quotas(requests_per_min=5)
    book.enter("a", quotas, 0.0)
    book.enter("a", quotas, 0.0)
    with pytest.raises(QuotaExceeded, match="2 requests a minute"):
        book.enter("a", quotas, 0.0)
    assert book.standing("a", quotas, 0.0)[0] == Standing(2, 0, 60.0)
