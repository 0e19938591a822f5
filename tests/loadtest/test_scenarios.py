"""Every scenario: a plan that fits its limits, at any size, in about a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import Closed
from loadtest.measure import LATENCIES
from loadtest.scenario import Cast, Patient, Plan, Scenario
from loadtest.scenarios import SCENARIOS

EACH = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def planned(scenario: Scenario, scale: float = 1.0) -> Plan:
    needs = scenario.needs(scale)
    return scenario.plan(Cast("base", tuple(f"t/a{at}" for at in range(needs.adapters))), scale)


@EACH
def test_it_takes_about_a_minute(scenario: Scenario) -> None:
    assert 55 <= sum(phase.seconds for phase in planned(scenario).phases) <= 90


@EACH
@given(scale=st.floats(0.02, 20))
def test_its_plan_fits_its_cast_at_any_scale(scenario: Scenario, scale: float) -> None:
    plan = planned(scenario, scale)
    needs = scenario.needs(scale)
    models = {"base", *(f"t/a{at}" for at in range(needs.adapters))}
    for phase in plan.phases:
        assert phase.seconds > 0
        for flow in phase.flows:
            assert set(flow.models) <= models
            assert flow.models
            # An answer that nobody cuts short would outlast the phase that it is part of.
            assert flow.work.max_tokens <= 64 or not isinstance(flow.reading, Patient)
            assert isinstance(flow.arrivals, Closed) or flow.work.vocabulary > 0
        assert {move.adapter for move in phase.moves} <= models
        assert needs.own or not phase.moves
    assert {name.partition("@")[0] for name in plan.warm} <= models


@EACH
def test_its_limits_speak_of_its_own_flows_and_phases(scenario: Scenario) -> None:
    plan = planned(scenario)
    flows = {flow.name for phase in plan.phases for flow in phase.flows}
    phases = {phase.name for phase in plan.phases}
    for limit in scenario.limits:
        for measure in (limit.measure, *([limit.against] if limit.against else [])):
            assert measure.flow in flows | {None}
            assert measure.phase in phases | {None}
            assert (measure.quantile is not None) is (measure.quantity in LATENCIES)
    assert len({str(limit) for limit in scenario.limits}) == len(scenario.limits)


def test_a_storms_adapters_are_new_in_each_pair_and_the_same_in_its_halves() -> None:
    plan = planned(SCENARIOS["cold_storm"])
    assert [phase.name for phase in plan.phases] == ["cold", "warm"] * 5
    storms = [phase.flows[1].models for phase in plan.phases]
    assert storms[::2] == storms[1::2]
    new = [name for storm in storms[::2] for name in storm]
    assert len(set(new)) == len(new) == 40
    assert not set(new) & set(plan.warm)
