"""Some clients read only a few bytes per second from their sockets: are ordinary clients slowed down?

The same long answers are requested in two phases: in the first their clients read as fast as they can, in the second
slowly. They disconnect when the phase ends.
"""

from __future__ import annotations

from loadtest.arrivals import Burst, Closed
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Reading, Scenario, Slow, UntilEnd, Work, scaled

PEERS = 8
WORK = Work(prompt_tokens=32, max_tokens=24)
LONG = Work(prompt_tokens=32, max_tokens=300, logprobs=20)
"""An answer of hundreds of kilobytes: more than socket buffers hold, so that a slow reader blocks its writer."""


def plan(cast: Cast, scale: float) -> Plan:
    ordinary = Flow("ordinary", (cast.base,), Closed(workers=4), WORK)

    def phase(name: str, reading: Reading) -> Phase:
        peers = Flow("peers", (cast.base,) * scaled(PEERS, scale, 2), Burst(at_s=0.5), LONG, reading=reading)
        return Phase(name, 32 * scale, (ordinary, peers))

    return Plan((phase("fast", UntilEnd()), phase("slow", Slow(bytes_per_s=16))), warm=(cast.base,))


SCENARIO = Scenario(
    name="slow_readers",
    question="Do clients that read slowly hold up the others, or fill the service's memory?",
    needs=lambda scale: Needs(),
    plan=plan,
    watch=True,
    limits=(
        Limit(Measure(Quantity.FAILED, flow="ordinary"), at_most=0),
        Limit(
            Measure(Quantity.TOTAL, 0.95, flow="ordinary", phase="slow"),
            at_most=1.25,
            against=Measure(Quantity.TOTAL, 0.95, flow="ordinary", phase="fast"),
        ),
        Limit(
            Measure(Quantity.GAP, 0.99, flow="ordinary", phase="slow"),
            at_most=1.5,
            against=Measure(Quantity.GAP, 0.99, flow="ordinary", phase="fast"),
        ),
        Limit(Measure(Quantity.MEMORY, phase="slow"), at_most=128),
    ),
)
