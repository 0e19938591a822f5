"""Quota decisions on random histories: never more than the limit in any minute, and what was given back never was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_registry.records import Quotas, TenantQuotas
from service.access.ledger import FileLedger
from service.access.meter import Account, Meter, Need
from service.access.minute import MINUTE_S, Minute
from service.access.quota import Budget, Permit, QuotaBook, Standing, share
from service.errors import QuotaExceeded, QuotaTooSmall

Refusal = QuotaExceeded | QuotaTooSmall


def need(tokens: int = 10, adapter: str | None = None, size_bytes: int = 0) -> Need:
    return Need(1, tokens, adapter, size_bytes)


def permit_of(meter: Meter, quotas: Quotas, now: float) -> Permit:
    """Of a key, at the only gateway."""
    return Permit((Account(meter, quotas, quotas),), now)


def refused(meter: Meter, quotas: Quotas, now: float, what: Need | None = None) -> Refusal:
    """Why one more request is refused."""
    try:
        permit = permit_of(meter, quotas, now)
        if what is not None:
            permit.reserve(what, now)
    except (QuotaExceeded, QuotaTooSmall) as error:
        return error
    pytest.fail("it was let in")


# -- a minute's limit -----------------------------------------------------------------------------------------


def test_requests_by_the_minute() -> None:
    meter, quotas = Meter(), Quotas(requests_per_min=2)
    permit_of(meter, quotas, 0.0)
    permit_of(meter, quotas, 20.0)
    error = refused(meter, quotas, 30.0)
    assert (error.param, error.retry_after_s) == ("requests_per_min", 30.0)
    refused(meter, quotas, 59.9)
    permit_of(meter, quotas, 60.0)
    assert refused(meter, quotas, 60.0).retry_after_s == 20.0


def test_a_refused_request_takes_nothing() -> None:
    meter, quotas = Meter(), Quotas(requests_per_min=1, concurrent=5)
    permit_of(meter, quotas, 0.0)
    for _ in range(3):
        refused(meter, quotas, 1.0)
    assert (meter.running, meter.requests.used(1.0)) == (1, 1)


def test_tokens_are_reserved_whole_and_what_was_not_used_comes_back() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100)
    first = permit_of(meter, quotas, 0.0)
    first.reserve(need(90), 0.0)
    error = refused(meter, quotas, 1.0, need(20))
    assert (error.param, error.retry_after_s) == ("tokens_per_min", 59.0)
    first.release(30, 2.0)
    permit_of(meter, quotas, 3.0).reserve(need(70), 3.0)
    assert meter.tokens.used(3.0) == 100


def test_tokens_that_come_back_after_their_minute_are_nobodys() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100)
    slow = permit_of(meter, quotas, 0.0)
    slow.reserve(need(100), 0.0)
    permit_of(meter, quotas, 61.0).reserve(need(100), 61.0)
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
    one, _ = permit_of(meter, quotas, 0.0), permit_of(meter, quotas, 0.0)
    assert refused(meter, quotas, 0.0).param == "concurrent"
    one.release(0, 0.0)
    permit_of(meter, quotas, 0.0)


def test_an_adapter_counts_once_however_many_requests_keep_it() -> None:
    meter, quotas = Meter(), Quotas(resident_bytes=25)
    permits = [permit_of(meter, quotas, 0.0) for _ in range(3)]
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
    permit_of(meter, Quotas(resident_bytes=1), 0.0).reserve(need(1), 0.0)
    assert meter.pinned_bytes == 0


def test_both_or_neither() -> None:
    meter, quotas = Meter(), Quotas(tokens_per_min=100, resident_bytes=5)
    permit = permit_of(meter, quotas, 0.0)
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
            permit = permit_of(meter, quotas, now)
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
            permit = permit_of(meter, quotas, now)
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
    book.enter([Budget("a", quotas)], 0.0).reserve(need(20), 0.0)
    book.enter([Budget("b", quotas)], 0.0)
    with pytest.raises(QuotaExceeded):
        book.enter([Budget("a", quotas)], 1.0)
    assert book.standing([Budget("a", quotas)], 10.0) == (Standing(1, 0, 50.0), Standing(50, 30, 50.0))
    assert book.standing([Budget("new", quotas)], 10.0) == (Standing(1, 1, 0.0), Standing(50, 50, 0.0))
    assert book.standing([Budget("a", Quotas())], 10.0) == (None, None)


def test_keys_that_use_nothing_are_forgotten_and_those_that_run_are_not() -> None:
    book, quotas = QuotaBook(), Quotas(requests_per_min=10)
    running = book.enter([Budget("long", quotas)], 0.0)
    for number in range(100):
        book.enter([Budget(f"key{number}", quotas)], 0.0).release(0, 0.0)
    book.enter([Budget("now", quotas)], 200.0)
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
    book.enter([Budget("a", quotas)], 0.0)
    book.enter([Budget("a", quotas)], 0.0)
    with pytest.raises(QuotaExceeded, match="2 requests a minute"):
        book.enter([Budget("a", quotas)], 0.0)
    assert book.standing([Budget("a", quotas)], 0.0)[0] == Standing(2, 0, 60.0)


# -- choices, tenants, parts of gateways ----------------------------------------------------------------------


def test_choices_in_flight_are_counted_and_not_requests() -> None:
    meter, quotas = Meter(), Quotas(concurrent=16)
    first = permit_of(meter, quotas, 0.0)
    first.reserve(Need(1, 1, None, sequences=12), 0.0)
    error = refused(meter, quotas, 0.0, Need(1, 1, None, sequences=5))
    assert isinstance(error, QuotaExceeded)
    assert "has 12 of its 16 in flight" in error.message
    assert meter.running == 13, "a refused request holds its place until it is released"
    first.release(0, 0.0)
    assert meter.running == 1
    never = refused(Meter(), quotas, 0.0, Need(1, 1, None, sequences=17))
    assert (type(never), never.param) == (QuotaTooSmall, "concurrent")


def test_all_keys_of_a_tenant_together_have_its_quotas() -> None:
    book, whole = QuotaBook(), Budget("tenant acme", Quotas(requests_per_min=3, tokens_per_min=100), "the tenant")
    keys = [[Budget(name, Quotas(requests_per_min=2)), whole] for name in "abc"]
    book.enter(keys[0], 0.0).reserve(need(60), 0.0)
    book.enter(keys[0], 0.0)
    with pytest.raises(QuotaExceeded, match="this key may make 2"):
        book.enter(keys[0], 0.0)
    last = book.enter(keys[1], 0.0)
    with pytest.raises(QuotaExceeded, match="the tenant has 40 of its 100"):
        last.reserve(need(41), 0.0)
    last.reserve(need(40), 0.0)
    with pytest.raises(QuotaExceeded, match="the tenant may make 3"):
        book.enter(keys[2], 0.0)
    assert book.standing(keys[2], 0.0) == (Standing(3, 0, 60.0), Standing(100, 0, 60.0))
    last.release(0, 1.0)
    assert book.standing(keys[2], 1.0)[1] == Standing(100, 40, 59.0)


def test_what_fits_the_whole_quota_is_let_in_by_one_of_several_gateways_and_paid_for_at_its_rate() -> None:
    book, budget = QuotaBook(gateways=4), [Budget("a", Quotas(tokens_per_min=100, concurrent=8, resident_bytes=40))]
    small, large = Need(1, 10, None), Need(1, 70, "x", size_bytes=30, sequences=6)
    book.enter(budget, 0.0).reserve(small, 0.0)
    permit = book.enter(budget, 0.0)
    permit.release(0, 0.0)
    permit = book.enter(budget, 0.0)
    permit.reserve(large, 0.0)
    with pytest.raises(QuotaExceeded) as caught:
        book.enter(budget, 1.0)  # 7 choices run, and the part is 2
    assert caught.value.param == "concurrent"
    permit.release(70, 1.0)
    for now, fits in ((1.0, False), (120.0, False), (180.0, True)):  # 80 tokens at 25 a minute
        again = book.enter(budget, now)
        if fits:
            again.reserve(small, now)
        else:
            with pytest.raises(QuotaExceeded) as caught:
                again.reserve(Need(1, 25, None), now)
            assert caught.value.param == "tokens_per_min"
        again.release(0, now)
    with pytest.raises(QuotaTooSmall):
        book.enter(budget, 600.0).reserve(need(101), 600.0)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, 10.0, 59.0, 60.0]), st.integers(1, 100), st.integers(0, 100))),
    st.integers(1, 5),
)
@settings(max_examples=300)
def test_lent_tokens_are_paid_for(steps: list[tuple[float, int, int]], gateways: int) -> None:
    """Over any time a gateway lets through its part for each minute begun, and at most the whole in addition."""
    whole, now, used = 100, 0.0, 0
    book, budget = QuotaBook(gateways), [Budget("a", Quotas(tokens_per_min=whole))]
    part = max(1, whole // gateways)
    for wait_s, tokens, spent in steps:
        now += wait_s
        permit = book.enter(budget, now)
        try:
            permit.reserve(need(tokens), now)
        except QuotaExceeded as error:
            now += error.retry_after_s or 0.0
            permit.reserve(need(tokens), now)  # whoever waits as told is let in: nothing else ran meanwhile
        permit.release(min(spent, tokens), now)
        used += min(spent, tokens)
        assert used <= whole + part * (now // MINUTE_S + 1)


# -- restarts -------------------------------------------------------------------------------------------------


def killed_and_started(directory: Path, wall: list[float], gateways: int = 1) -> QuotaBook:
    """A new process: its own clock begins anew."""
    return QuotaBook(gateways, FileLedger(directory, gateways, lambda: wall[0]), now=5000.0)


def test_a_restart_gives_nobody_a_fresh_minute(tmp_path: Path) -> None:
    wall = [1_800_000_030.0]
    budget = [Budget("a b/c", Quotas(requests_per_min=2, tokens_per_min=100))]
    book = QuotaBook(1, FileLedger(tmp_path, 1, lambda: wall[0]), now=0.0)
    book.enter(budget, 0.0).reserve(need(30), 0.0)
    ended = book.enter(budget, 20.0)
    ended.reserve(need(70), 20.0)
    wall[0] += 31  # in the next minute's file
    ended.release(10, 31.0)
    (later := book.standing(budget, 31.0))
    assert later == (Standing(2, 0, 49.0), Standing(100, 60, 49.0))
    wall[0] += 4
    book = killed_and_started(tmp_path, wall)
    assert book.standing(budget, 5000.0) == (Standing(2, 0, 45.0), Standing(100, 60, 45.0))
    with pytest.raises(QuotaExceeded) as caught:
        book.enter(budget, 5000.0)
    assert caught.value.retry_after_s == pytest.approx(25.0)
    wall[0] += 25
    book = killed_and_started(tmp_path, wall)
    book.enter(budget, 5000.0).reserve(need(90), 5000.0)
    wall[0] += 600
    assert len(killed_and_started(tmp_path, wall)) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_lent_is_owed_after_a_restart_too(tmp_path: Path) -> None:
    wall, budget = [1_800_000_000.0], [Budget("a", Quotas(tokens_per_min=100))]
    killed_and_started(tmp_path, wall, gateways=4).enter(budget, 5000.0).reserve(need(100), 5000.0)
    for minutes, left in ((1, 0), (2, 0), (3, 0), (4, 25)):
        wall[0] = 1_800_000_000.0 + 60 * minutes
        [standing] = killed_and_started(tmp_path, wall, gateways=4).standing(budget, 5000.0)[1:]
        assert standing is not None
        assert standing.remaining == left


def test_a_clock_that_was_set_back_charges_for_the_debt_at_most(tmp_path: Path) -> None:
    wall, budget = [1_800_000_000.0], [Budget("a", Quotas(requests_per_min=1))]
    killed_and_started(tmp_path, wall).enter(budget, 5000.0)
    wall[0] -= 30
    book = killed_and_started(tmp_path, wall)
    with pytest.raises(QuotaExceeded) as caught:
        book.enter(budget, 5000.0)
    assert caught.value.retry_after_s == pytest.approx(90.0)
    wall[0] -= 86_400
    [requests, _] = killed_and_started(tmp_path, wall).standing(budget, 5000.0)
    assert requests is not None
    assert requests.reset_s <= 120.0


def test_a_torn_line_and_a_disk_that_fails_cost_the_memory_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wall, budget = [1_800_000_000.0], [Budget("a", Quotas(requests_per_min=9))]
    killed_and_started(tmp_path, wall).enter(budget, 5000.0)
    [file] = tmp_path.iterdir()
    file.write_text(file.read_text() + "requests a 18000")
    [requests, _] = killed_and_started(tmp_path, wall).standing(budget, 5000.0)
    assert requests is not None
    assert requests.remaining == 8
    (tmp_path / "no directory").write_text("")
    book = killed_and_started(tmp_path / "no directory" / "x", wall)
    for _ in range(3):
        book.enter(budget, 5000.0)
    assert caplog.text.count("a restart will reset") == 1


def test_a_minute_recalls_what_was_lent() -> None:
    minute = Minute()
    minute.recall([(-30.0, 5), (30.0, 7)])
    assert (minute.used(0.0), minute.used(30.0), minute.used(90.0)) == (12, 7, 0)


def test_what_is_taken_beside_a_debt_is_forgotten_in_its_own_time() -> None:
    minute = Minute()
    (_, later) = minute.borrow(15, 10, 0.0)
    minute.give_back(later, 3, 0.0)
    minute.take(1, 1.0)
    assert [minute.used(now) for now in (59.0, 60.0, 61.0, 120.0)] == [13, 3, 2, 0]
    minute.take(10, 130.0)
    assert minute.wait_s(1, 10, 131.0) == 59.0


def test_gateways_share_the_quotas_of_a_tenant() -> None:
    whole = TenantQuotas(name="acme", requests_per_min=4, concurrent=1)
    assert share(whole, 2) == Quotas(requests_per_min=2, concurrent=1)
