"""Many adapters, a few requested far more often than the rest, open loop: arrivals do not wait for answers."""

from __future__ import annotations

from loadtest.arrivals import Poisson
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.popularity import Zipf
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work, scaled

WORK = Work(prompt_tokens=64, max_tokens=32)
PER_S = 1.5
"""Arrival rate; 48 tokens per second, about half of the throughput of two cores with mixed adapters."""
POPULAR = 3


def needs(scale: float) -> Needs:
    return Needs(adapters=scaled(24, scale, least=2 * POPULAR))


def plan(cast: Cast, scale: float) -> Plan:
    flow = Flow("adapters", cast.adapters, Poisson(PER_S), WORK, Zipf(1.1))
    return Plan((Phase("steady", 80 * scale, (flow,)),), warm=cast.adapters)


SCENARIO = Scenario(
    name="zipf",
    question="Do rarely asked adapters wait longer than popular ones when requests arrive at random?",
    needs=needs,
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(Measure(Quantity.TTFT, 0.95), at_most=2),
        Limit(Measure(Quantity.GAP, 0.99), at_most=1),
        Limit(
            Measure(Quantity.TTFT, 0.5, places=(POPULAR, None)),
            at_most=1.5,
            against=Measure(Quantity.TTFT, 0.5, places=(0, POPULAR)),
        ),
        Limit(Measure(Quantity.LAG, 0.99), at_most=0.1),
    ),
)
