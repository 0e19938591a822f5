"""Baseline: the base model alone, open loop: arrivals do not wait for answers."""

from __future__ import annotations

from loadtest.arrivals import Poisson
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work

WORK = Work(prompt_tokens=64, max_tokens=32)
PER_S = 2.0
"""Arrival rate; 64 tokens per second, below half of the throughput of two cores."""


def plan(cast: Cast, scale: float) -> Plan:
    flow = Flow("base", (cast.base,), Poisson(PER_S), WORK)
    return Plan((Phase("steady", 70 * scale, (flow,)),), warm=(cast.base,))


SCENARIO = Scenario(
    name="base_open",
    question="How long do requests take on the base alone when two a second arrive at random?",
    needs=lambda scale: Needs(),
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(Measure(Quantity.TTFT, 0.95), at_most=1.5),
        Limit(Measure(Quantity.GAP, 0.99), at_most=0.5),
        Limit(Measure(Quantity.LAG, 0.99), at_most=0.1),
    ),
)
