"""Limits: held, broken, or not to be seen; ratios by the median of their rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.limits import Limit, all_held, judge
from loadtest.measure import Measure, Quantity
from tests.loadtest.runs import DONE, FAILED, run_of

P50 = Measure(Quantity.TTFT, 0.5)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_bound_itself_is_held(found: float, bound: float) -> None:
    run = run_of(replace(DONE, scheduled_s=0.0, first_s=found))
    assert judge(Limit(P50, at_most=bound), run).held is (found <= bound)
    assert judge(Limit(P50, at_least=bound), run).held is (found >= bound)


def test_no_answer_breaks_a_limit() -> None:
    verdict = judge(Limit(P50, at_most=1000), run_of(FAILED))
    assert verdict.held is False
    assert verdict.why == "no answer to measure"
    assert not all_held((verdict,))


def test_what_a_service_does_not_show_is_neither_held_nor_broken() -> None:
    verdict = judge(Limit(Measure(Quantity.MEMORY), at_most=1), run_of(DONE))
    assert (verdict.value, verdict.held) == (None, None)
    assert all_held((verdict,))


def test_one_disturbed_round_does_not_decide_a_ratio() -> None:
    samples = [
        replace(DONE, phase=phase, round=round, scheduled_s=0.0, first_s=first_s)
        for round, pair in enumerate([(1.0, 1.0), (9.0, 1.0), (1.2, 1.0)], start=1)
        for phase, first_s in zip(("cold", "warm"), pair, strict=True)
    ]
    limit = Limit(replace(P50, phase="cold"), at_most=1.2, against=replace(P50, phase="warm"))
    verdict = judge(limit, run_of(*samples))
    assert verdict.rounds == pytest.approx((1.0, 9.0, 1.2))
    assert (verdict.value, verdict.held) == (1.2, True)
    # A round of which one half is missing cannot be compared.
    assert judge(limit, run_of(*samples[:-1])).held is False


def test_limits_say_what_they_are_about() -> None:
    assert str(Limit(replace(P50, flow="storm"), at_most=6)) == "p50 time to first token (storm) ≤ 6 s"
    ratio = Limit(replace(P50, phase="cold"), at_most=1.1, against=replace(P50, phase="warm"))
    assert str(ratio) == "p50 time to first token (cold) / (warm) ≤ 1.1"
    assert str(Limit(Measure(Quantity.SPEED), at_least=50)) == "tokens per second ≥ 50 tokens/s"
