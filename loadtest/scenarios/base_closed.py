"""Baseline: the base model alone in a closed loop of eight clients."""

from __future__ import annotations

from loadtest.arrivals import Closed
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work

WORK = Work(prompt_tokens=64, max_tokens=48)


def plan(cast: Cast, scale: float) -> Plan:
    flow = Flow("base", (cast.base,), Closed(workers=8), WORK)
    return Plan((Phase("steady", 60 * scale, (flow,)),), warm=(cast.base,))


SCENARIO = Scenario(
    name="base_closed",
    question="How fast is the base alone when eight clients keep it busy?",
    needs=lambda scale: Needs(),
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(Measure(Quantity.SPEED), at_least=50),
        Limit(Measure(Quantity.TTFT, 0.95), at_most=3),
        Limit(Measure(Quantity.GAP, 0.99), at_most=0.5),
    ),
)
