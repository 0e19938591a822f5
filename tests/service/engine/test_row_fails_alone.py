"""A row without a finite logit ends alone: its neighbours, and the next users of its blocks, are exact."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch

from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.settings import EngineOptions
from service.values import Event, FinishReason, GenerateRequest, SamplingParams
from tests.engines import Job, bound_adapter
from tests.models import VOCABULARY, lora_configs, random_adapter, save, tiny_base

from .computing import load, name_of, ways

OPTIONS = EngineOptions(kv_cache_bytes=1 << 18, block_tokens=8)
HUGE = 5e17
"""Finite, and accepted at upload; products of two of them are not."""


@dataclass(frozen=True)
class Bench:
    """An engine, a good adapter, and one whose weights are finite and huge."""

    engine: Engine
    good: BoundAdapter
    huge: BoundAdapter
    exact: bool
    """Whether tokens alone and together are promised to be equal: by torch in float32 only."""


@pytest.fixture(
    scope="module",
    params=[(way, dtype) for way in ways("llama") for dtype in (torch.float32, torch.bfloat16)],
    ids=lambda param: f"{name_of(param[0])}-{param[1]}",
)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    way, dtype = request.param
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base).to(dtype), OPTIONS, way)
    adapters = []
    for scale in (1.0, HUGE):
        model = random_adapter(base, lora_configs("llama")[2], 0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name and scale != 1:
                    parameter.copy_(torch.randn_like(parameter) * scale)
        adapters.append(bound_adapter(engine, base, save(model, tmp_path_factory.mktemp("adapter"))))
    return Bench(engine, *adapters, exact=way is not None or dtype == torch.float32)


def asked(name: str, seed: int, length: int, **wants: object) -> GenerateRequest:
    prompt = torch.randint(1, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    wants = {"max_tokens": 10, "ignore_eos": True, "seed": seed, "temperature": 0} | wants
    return GenerateRequest(name, "t", tuple(prompt), SamplingParams(**wants), 60)  # type: ignore[arg-type]


def run(engine: Engine, jobs: list[Job]) -> dict[str, list[Event]]:
    for job in jobs:
        engine.submit(*job)
    told: dict[str, list[Event]] = {request.request_id: [] for request, _ in jobs}
    while engine.has_work():
        for event in engine.step():
            told[event.request_id].append(event)
    return told


def tokens(events: list[Event]) -> list[int]:
    return [token for event in events for token in event.tokens]


def test_neighbours_of_a_row_without_finite_logits_get_what_they_get_alone(bench: Bench) -> None:
    engine, good, huge = bench.engine, bench.good, bench.huge
    victims: list[Job] = [
        (asked("base", 1, 11), None),
        (asked("good", 2, 30), good),
        (asked("drawn", 3, 5, temperature=0.8, top_p=0.9), good),
        (asked("logprobs", 4, 9, logprobs=2), None),
    ]
    alone = {name: events for job in victims for name, events in run(engine, [job]).items()}
    ways_to_sample = ({}, {"temperature": 1.0}, {"logprobs": 1})
    bad: list[Job] = [(asked(f"bad{at}", at, 9 * at + 2, **wants), huge) for at, wants in enumerate(ways_to_sample)]
    together = run(engine, [*victims, *bad])
    for at in range(3):
        (end,) = together[f"bad{at}"]
        assert end.failure is not None
        assert (end.finish, end.failure.code) == (FinishReason.FAILED, "non_finite_logits")
    for name, events in alone.items():
        assert together[name][-1].finish is FinishReason.LENGTH
        if bench.exact:
            assert tokens(together[name]) == tokens(events)


def test_what_a_row_left_in_its_blocks_harms_none_of_their_next_users(bench: Bench) -> None:
    """Most blocks are filled with what is not finite, by sequences that are cancelled before a logit shows it."""
    engine, huge = bench.engine, bench.huge
    jobs: list[Job] = [(asked(f"r{n}", n, 3 + 5 * n), None) for n in range(4)]
    wanted = run(engine, jobs)
    snapshot = engine.snapshot()
    length = min(engine.context_tokens - 10, 40)
    count = snapshot.kv_blocks_total // -(-length // 8)
    for number in range(count):
        engine.submit(asked(f"bad{number}", number, length), huge)
        engine.step()
        engine.cancel(f"bad{number}")
    while engine.has_work():
        engine.step()
    again = run(engine, jobs)
    for name, events in wanted.items():
        assert tokens(again[name]) == tokens(events)


def test_the_trial_finds_weights_that_are_too_large(bench: Bench) -> None:
    engine, good, huge = bench.engine, bench.good, bench.huge
    assert engine.try_adapter(good) is None
    failure = engine.try_adapter(huge)
    assert failure is not None
    assert failure.code == "non_finite_logits"
    assert engine.try_adapter(good) is None
