"""Aliases are promoted and rolled back under load: does every answer come from a version that was live?"""

from __future__ import annotations

from loadtest.arrivals import Closed
from loadtest.limits import Limit
from loadtest.measure import GRACE_S, Measure, Quantity
from loadtest.moves import planned_moves
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work, scaled

ADAPTERS, VERSIONS = 6, 3
MOVE_EVERY_S = 0.5
"""Each of the six adapters moves every 3 s, three times ``GRACE_S``."""
WORK = Work(prompt_tokens=32, max_tokens=16)


def needs(scale: float) -> Needs:
    return Needs(adapters=scaled(ADAPTERS, scale, 4), versions=VERSIONS, own=True)


def plan(cast: Cast, scale: float) -> Plan:
    flow = Flow("adapters", cast.adapters, Closed(workers=6), WORK)
    moving_s = 50 * scale
    moves = planned_moves(cast.adapters, VERSIONS, MOVE_EVERY_S, moving_s, seed=1)
    every = tuple(f"{name}@{version}" for name in cast.adapters for version in range(1, VERSIONS + 1))
    return Plan(
        (Phase("still", 25 * scale, (flow,)), Phase("moving", moving_s, (flow,), moves=moves)),
        warm=every,
    )


SCENARIO = Scenario(
    name="swap",
    question="While versions are promoted and rolled back, does every answer come from a version that was live?",
    needs=needs,
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(Measure(Quantity.MOVES_FAILED), at_most=0),
        Limit(Measure(Quantity.STALE), at_most=GRACE_S),
        # 1 would mean that no version was swapped.
        Limit(Measure(Quantity.VERSIONS, phase="moving"), at_least=1.5),
        Limit(
            Measure(Quantity.TOTAL, 0.95, phase="moving"),
            at_most=1.5,
            against=Measure(Quantity.TOTAL, 0.95, phase="still"),
        ),
    ),
)
