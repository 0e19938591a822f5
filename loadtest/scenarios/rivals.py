"""A hostile tenant sends its worst load: does another tenant get the right answers, and in time?

A round has these phases: the victim alone, which gives the reference answers; the victim and an ordinary tenant; the
victim and a hostile tenant with as many requests; each part of the hostile load alone. With ``--scale 6`` the hostile
phases last two minutes.
"""

from __future__ import annotations

from loadtest.arrivals import Closed, Poisson
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.nuisance import FeedbackFlood, Nuisance, SlowBodies, SlowUploads
from loadtest.scenario import Cast, Disconnects, Flow, Needs, Phase, Plan, Scenario, Work, scaled

ROUNDS = 3
WHOLE_S, PART_S = 7.0, 2.3
ADAPTERS, HUGE = 2, 12
WORKERS = 2
"""Concurrent requests of the victim."""
WORK = Work(prompt_tokens=32, max_tokens=16)
VICTIMS = Work(prompt_tokens=32, max_tokens=24)
COSTLY = (
    ("temperature", 1.0),
    ("top_p", 0.95),
    ("min_p", 0.001),
    ("repetition_penalty", 1.1),
    ("presence_penalty", 0.5),
    ("frequency_penalty", 0.5),
    ("logit_bias", {str(token): 0.5 for token in range(100, 400)}),
)
SAMPLED = Work(prompt_tokens=32, max_tokens=16, logprobs=5, more=COSTLY)
LONG = Work(prompt_tokens=1500, max_tokens=4)
ABANDONED = Work(prompt_tokens=32, max_tokens=200)
LOADS_PER_S, SAMPLED_PER_S, LONG_PER_S, ABANDONED_PER_S = 5.0, 3.0, 0.5, 1.5
"""The sum is 10 per second, as for the ordinary tenant."""
NUISANCES: tuple[Nuisance, ...] = (SlowUploads(16), SlowBodies(64), FeedbackFlood(8))


def needs(scale: float) -> Needs:
    return Needs(adapters=ADAPTERS, own=True, huge=scaled(HUGE, scale, 2))


def plan(cast: Cast, scale: float) -> Plan:
    mine, other = cast.tenants or (None, None)
    victim = Flow("victim", cast.adapters, Closed(WORKERS), VICTIMS, tenant=mine, repeats=True)
    rate = LOADS_PER_S + SAMPLED_PER_S + LONG_PER_S + ABANDONED_PER_S
    ordinary = Flow("ordinary", (cast.base,), Poisson(rate), WORK, tenant=other)
    loads = Flow("loads", cast.huge or cast.adapters, Poisson(LOADS_PER_S), WORK, tenant=other)
    sampling = Flow("sampling", (cast.base,), Poisson(SAMPLED_PER_S), SAMPLED, tenant=other)
    prompts = Flow("prompts", (cast.base,), Poisson(LONG_PER_S), LONG, tenant=other)
    aborts = Flow(
        "aborts", (cast.base,), Poisson(ABANDONED_PER_S), ABANDONED, reading=Disconnects(after_chunks=4), tenant=other
    )
    nuisances = NUISANCES if cast.tenants else ()
    phases: list[Phase] = []
    for round in range(1, scaled(ROUNDS, scale, 1) + 1):
        rival_phases = [
            Phase("ordinary", WHOLE_S * scale, (victim, ordinary), round),
            Phase("worst", WHOLE_S * scale, (victim, loads, sampling, prompts, aborts), round, nuisances=nuisances),
        ]
        phases.append(Phase("alone", WHOLE_S * scale, (victim,), round))
        phases += rival_phases if round % 2 else rival_phases[::-1]
        phases += [Phase(part.name, PART_S * scale, (victim, part), round) for part in (loads, sampling, prompts)]
    return Plan(tuple(phases), warm=(cast.base, *cast.adapters))


def _against_ordinary(phase: str, at_most: float) -> Limit:
    """Limits the victim's inter-token latency in ``phase`` to ``at_most`` times that with the ordinary tenant."""
    return Limit(
        Measure(Quantity.GAP, 0.99, flow="victim", phase=phase),
        at_most=at_most,
        against=Measure(Quantity.GAP, 0.99, flow="victim", phase="ordinary"),
    )


SCENARIO = Scenario(
    name="rivals",
    question="While a tenant does its worst, does another get the answers that it gets alone, and in time?",
    needs=needs,
    plan=plan,
    limits=(
        Limit(Measure(Quantity.FAILED, flow="victim"), at_most=0),
        Limit(Measure(Quantity.CHANGED, flow="victim"), at_most=0),
        Limit(Measure(Quantity.WRONG, flow="victim"), at_most=0),
        Limit(Measure(Quantity.SERVER_ERRORS), at_most=0),
        *(_against_ordinary(phase, 2.0) for phase in ("worst", "loads", "sampling", "prompts")),
    ),
)
