"""How prompt rows of a step are split between tenants: nothing lost, nobody over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.prompt_shares import shared_rows, shares
from tests.service.engine.simulated import request, simulated_engine


@pytest.mark.parametrize(
    ("rows", "wanted", "found"),
    [
        (192, {"a": 1500, "b": 32}, {"a": 96, "b": 32}),
        (192, {"b": 32, "a": 1500}, {"b": 32, "a": 160}),
        (192, {"a": 1500}, {"a": 192}),
        (8, {"a": 24, "b": 2}, {"a": 4, "b": 2}),
        (0, {"a": 24}, {"a": 0}),
        (48, {"a": 90, "b": 90, "c": 90, "d": 90}, {"a": 16, "b": 16, "c": 16, "d": 0}),
    ],
)
def test_shares(rows: int, wanted: dict[str, int], found: dict[str, int]) -> None:
    assert shares(rows, wanted) == found


@given(st.integers(0, 600), st.dictionaries(st.text(max_size=3), st.integers(1, 2000), max_size=60))
def test_they_are_within_bounds_and_the_first_is_never_left_out(rows: int, wanted: dict[str, int]) -> None:
    found = shares(rows, wanted)
    assert found.keys() == wanted.keys()
    assert sum(found.values()) <= rows
    assert all(0 <= found[tenant] <= most for tenant, most in wanted.items())
    assert not rows or not wanted or found[next(iter(wanted))] > 0


def test_beside_another_tenant_a_quarter_goes() -> None:
    assert [shared_rows(rows) for rows in (5, 64, 192, 512)] == [5, 32, 48, 128]


def test_another_tenants_long_prompt_makes_no_long_steps() -> None:
    engine, runner = simulated_engine(blocks=64, batch_tokens=400, chunk_tokens=160, context_tokens=600)
    engine.submit(request("victim", [5], max_tokens=12, tenant="one", ignore_eos=True), None)
    engine.step()
    engine.submit(request("long", [7] * 100, max_tokens=1, tenant="two", ignore_eos=True), None)
    while engine.has_work():
        engine.step()
    sizes = [[(c.sequence.id.request_id, c.length) for c in plan.chunks] for plan in runner.plans[1:4]]
    assert sizes == [[("victim", 1), ("long", length)] for length in (40, 40, 20)]
    engine, runner = simulated_engine(blocks=64, batch_tokens=400, chunk_tokens=160, context_tokens=600)
    engine.submit(request("own", [5], max_tokens=12, tenant="two", ignore_eos=True), None)
    engine.step()
    engine.submit(request("long", [7] * 100, max_tokens=1, tenant="two", ignore_eos=True), None)
    engine.step()
    assert runner.plans[1].rows == 101


def test_a_prompt_does_not_stand_behind_another_tenants_long_ones() -> None:
    engine, runner = simulated_engine(blocks=200, batch_tokens=64, context_tokens=600)
    for number in range(3):
        engine.submit(request(f"long{number}", [7 + number] * 200, tenant="two", ignore_eos=True), None)
    engine.step()
    engine.submit(request("short", [3] * 30, max_tokens=1, tenant="one", ignore_eos=True), None)
    engine.step()
    assert [(c.sequence.id.request_id, c.length) for c in runner.plans[1].chunks] == [("long0", 32), ("short", 30)]
