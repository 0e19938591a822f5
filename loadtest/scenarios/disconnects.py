"""Clients disconnect in the middle of long answers: are their resources freed, and are other clients unaffected?

If they were not freed, the abandoned answers would be computed for a minute or more after the last disconnect, and
during this time ordinary clients would get their tokens as slowly as before it.
"""

from __future__ import annotations

from loadtest.arrivals import Closed, Poisson
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Disconnects, Flow, Needs, Phase, Plan, Scenario, Work

WORK = Work(prompt_tokens=32, max_tokens=24)
LONG = Work(prompt_tokens=32, max_tokens=600)
PER_S = 1.0


def plan(cast: Cast, scale: float) -> Plan:
    ordinary = Flow("ordinary", (cast.base,), Closed(workers=4), WORK)
    quitters = Flow("quitters", (cast.base,), Poisson(PER_S), LONG, reading=Disconnects(after_chunks=6))
    return Plan(
        (
            Phase("before", 20 * scale, (ordinary,)),
            Phase("hang-ups", 30 * scale, (ordinary, quitters), settle_s=10),
            Phase("after", 20 * scale, (ordinary,)),
        ),
        warm=(cast.base,),
    )


SCENARIO = Scenario(
    name="disconnects",
    question="When clients hang up in the middle, is what they used freed, and are the others unharmed?",
    needs=lambda scale: Needs(),
    plan=plan,
    watch=True,
    limits=(
        Limit(Measure(Quantity.FAILED, flow="ordinary"), at_most=0),
        Limit(Measure(Quantity.FAILED, flow="quitters"), at_most=0),
        Limit(Measure(Quantity.SETTLED, phase="hang-ups"), at_most=2),
        Limit(
            Measure(Quantity.GAP, 0.5, flow="ordinary", phase="after"),
            at_most=1.25,
            against=Measure(Quantity.GAP, 0.5, flow="ordinary", phase="before"),
        ),
        Limit(
            Measure(Quantity.TOTAL, 0.95, flow="ordinary", phase="hang-ups"),
            at_most=2,
            against=Measure(Quantity.TOTAL, 0.95, flow="ordinary", phase="before"),
        ),
    ),
)
