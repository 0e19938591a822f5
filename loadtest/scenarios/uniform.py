"""Many adapters, requested equally often, in a closed loop that keeps the service busy."""

from __future__ import annotations

from loadtest.arrivals import Closed
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work, scaled

WORK = Work(prompt_tokens=64, max_tokens=32)


def needs(scale: float) -> Needs:
    return Needs(adapters=scaled(24, scale, least=3))


def plan(cast: Cast, scale: float) -> Plan:
    flow = Flow("adapters", cast.adapters, Closed(workers=8), WORK)
    return Plan((Phase("steady", 80 * scale, (flow,)),), warm=cast.adapters)


SCENARIO = Scenario(
    name="uniform",
    question="How fast are many adapters together when all are asked for alike, and is any of them served worse?",
    needs=needs,
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(Measure(Quantity.SPEED), at_least=30),
        Limit(Measure(Quantity.TTFT, 0.95), at_most=3),
        Limit(Measure(Quantity.GAP, 0.99), at_most=1),
        Limit(Measure(Quantity.SPREAD), at_most=1.5),
    ),
)
