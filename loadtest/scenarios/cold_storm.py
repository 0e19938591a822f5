"""Many adapters that were never loaded are requested at once while warm streams run: do the streams stall?

Each round is two phases with the same arrivals: in the first the adapters are new, in the second they are loaded.
"""

from __future__ import annotations

from loadtest.arrivals import Burst
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, UntilEnd, Work, scaled

WARM, STORM, PAIRS = 4, 8, 5
PHASE_S, STORM_AT_S = 7.0, 1.5
STREAM = Work(prompt_tokens=32, max_tokens=2000)
"""More tokens than a phase can compute, so that the streams run all the time."""
FIRST_WORDS = Work(prompt_tokens=32, max_tokens=8)


def _sizes(scale: float) -> tuple[int, int, int]:
    """Number of warm streams, of new adapters per round, and of rounds."""
    return scaled(WARM, scale, 2), scaled(STORM, scale, 2), scaled(PAIRS, scale, 1)


def needs(scale: float) -> Needs:
    warm, storm, pairs = _sizes(scale)
    return Needs(adapters=warm + storm * pairs, own=True)


def plan(cast: Cast, scale: float) -> Plan:
    warm, storm, pairs = _sizes(scale)
    streams = Flow("streams", cast.adapters[:warm], Burst(), STREAM, reading=UntilEnd())
    phases = []
    for pair in range(pairs):
        new = cast.adapters[warm + storm * pair : warm + storm * (pair + 1)]
        asked = Flow("storm", new, Burst(STORM_AT_S), FIRST_WORDS)
        phases += [Phase(name, PHASE_S, (streams, asked), round=pair + 1) for name in ("cold", "warm")]
    return Plan(tuple(phases), warm=cast.adapters[:warm])


SCENARIO = Scenario(
    name="cold_storm",
    question="Do running streams stall when many adapters that were never loaded are asked for at once?",
    needs=needs,
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED), at_most=0),
        Limit(Measure(Quantity.WRONG), at_most=0),
        Limit(
            Measure(Quantity.GAP, 0.99, flow="streams", phase="cold"),
            at_most=1.1,
            against=Measure(Quantity.GAP, 0.99, flow="streams", phase="warm"),
        ),
        Limit(Measure(Quantity.TTFT, 0.95, flow="storm", phase="cold"), at_most=6),
    ),
)
