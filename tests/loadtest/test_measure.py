"""Figures over the requests that they are about, and none where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import NothingMeasured
from loadtest.measure import Measure, Quantity, quantiles, value
from loadtest.samples import End, Look, Moved, Run, Span
from tests.loadtest.runs import DONE, FAILED, run_of


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_quantiles_lie_between_the_values_beside_them(values: list[float], wanted: float) -> None:
    found = quantiles(values, [wanted])[0]
    ordered = sorted(values)
    below = ordered[int(np.floor(wanted * (len(values) - 1)))]
    above = ordered[int(np.ceil(wanted * (len(values) - 1)))]
    assert below <= found or found == pytest.approx(below)
    assert found <= above or found == pytest.approx(above)


def test_latency_counts_from_the_schedule_and_not_from_the_sending() -> None:
    late = replace(DONE, scheduled_s=0.25, sent_s=1.0)
    run = run_of(late)
    assert value(Measure(Quantity.TTFT, 0.5), run) == 1.25
    assert value(Measure(Quantity.TOTAL, 0.5), run) == 2.75
    assert value(Measure(Quantity.LAG, 0.5), run) == 0.75
    assert value(Measure(Quantity.GAP, 0.5), run) == 0.75


def test_flow_phase_places_and_round_choose_the_requests() -> None:
    run = run_of(
        DONE,
        replace(DONE, flow="other", first_s=2.0),
        replace(DONE, phase="later", first_s=3.0),
        replace(DONE, place=5, first_s=4.0),
        replace(DONE, round=2, first_s=5.0),
    )
    ttft = Measure(Quantity.TTFT, 1.0)
    assert value(replace(ttft, flow="other"), run) == 1.0
    assert value(replace(ttft, phase="later"), run) == 2.0
    assert value(replace(ttft, places=(5, None)), run) == 3.0
    assert value(replace(ttft, places=(1, 5)), run_of(replace(DONE, place=4))) == 0.5
    assert value(ttft, run, round=2) == 4.0
    with pytest.raises(NothingMeasured):
        value(replace(ttft, flow="nobody"), run)


def test_failures_are_a_share_and_no_latency() -> None:
    run = run_of(DONE, DONE, DONE, FAILED)
    assert value(Measure(Quantity.FAILED), run) == 0.25
    assert value(Measure(Quantity.TOTAL, 1.0), run) == 2.0
    with pytest.raises(NothingMeasured):
        value(Measure(Quantity.TTFT, 0.5), run_of(FAILED))


def test_wrong_weights_are_counted_and_not_guessed_without_the_header() -> None:
    wrong = replace(DONE, model="t/a", adapter="t/b@1")
    assert value(Measure(Quantity.WRONG), run_of(DONE, wrong, wrong)) == 2
    assert value(Measure(Quantity.WRONG), run_of(replace(DONE, adapter=None))) is None
    with pytest.raises(NothingMeasured):
        value(Measure(Quantity.WRONG), run_of(FAILED))


def test_a_version_is_wrong_once_the_gateway_had_time_to_hear_of_the_move() -> None:
    asked = replace(DONE, model="t/a", adapter="t/a@1")
    soon, late = replace(asked, sent_s=5.5, first_s=6.0), replace(asked, sent_s=8.0, first_s=8.1)
    run = replace(run_of(soon, late), moved=(Moved("t/a", 2, 4.9, 5.0),))
    assert value(Measure(Quantity.WRONG), run) == 1
    assert value(Measure(Quantity.STALE), run) == 3.0
    assert value(Measure(Quantity.VERSIONS), run) == 1
    assert value(Measure(Quantity.MOVES_FAILED), run) == 0


def test_speed_is_tokens_over_the_spans_time() -> None:
    run = run_of(DONE, replace(DONE, phase="later"), spans=[Span("steady", 1, 0, 2), Span("later", 1, 2, 5)])
    assert value(Measure(Quantity.SPEED), run) == pytest.approx(6 / 5)
    assert value(Measure(Quantity.SPEED, phase="later"), run) == 1.0


def test_spread_is_the_slowest_adapter_over_all_those_with_enough_answers() -> None:
    slow = replace(DONE, model="t/slow", last_s=5.0)
    rare = replace(DONE, model="t/rare", last_s=99.0)
    assert value(Measure(Quantity.SPREAD), run_of(*[DONE] * 3, *[slow] * 3, rare)) == pytest.approx(4 / 3)
    with pytest.raises(NothingMeasured):
        value(Measure(Quantity.SPREAD), run_of(DONE, slow))


def test_memory_is_the_growth_within_a_span() -> None:
    looks = tuple(Look(float(at), mib << 20, 0) for at, mib in enumerate([900, 100, 150, 120, 800]))
    run = Run((), (Span("steady", 1, 0.5, 3.5),), looks=looks)
    assert value(Measure(Quantity.MEMORY), run) == 50
    assert value(Measure(Quantity.MEMORY), replace(run, looks=())) is None


def test_settling_is_unknown_where_the_service_does_not_say() -> None:
    spans = [Span("steady", 1, 0, 1, 0.4), Span("steady", 2, 1, 2, 0.7)]
    assert value(Measure(Quantity.SETTLED), run_of(spans=spans)) == 0.7
    assert value(Measure(Quantity.SETTLED), run_of(spans=[Span("steady", 1, 0, 1)])) is None


def test_an_answer_that_the_client_left_has_no_end() -> None:
    run = run_of(replace(DONE, end=End.LEFT))
    assert value(Measure(Quantity.FAILED), run) == 0
    with pytest.raises(NothingMeasured):
        value(Measure(Quantity.TOTAL, 0.5), run)
