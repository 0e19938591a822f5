"""The native step beside the reference: greedy and drawn rows, bfloat16, threads, and the bits of its logits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from service.engine.engine import Engine
from service.engine.kernels.levels import Level
from service.engine.native_runner import NativeRunner
from service.engine.plan import Chunk, Plan
from service.engine.sequence import Sequence, SequenceId
from service.settings import EngineOptions
from service.values import GenerateRequest, SamplingParams
from tests.engines import all_logits, trial
from tests.models import VOCABULARY, oracle, tiny_base

from .computing import NATIVE, load, name_of

pytestmark = pytest.mark.skipif(not NATIVE, reason="no level of the kernels runs on this processor")
OPTIONS = EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8)
DTYPES = (torch.float32, torch.bfloat16)


def prompts(count: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(11)
    return [torch.randint(VOCABULARY, (9 + 7 * n,), generator=draw).tolist() for n in range(count)]


def engine_of(dtype: torch.dtype, way: Level | None, **options: object) -> Engine:
    return load(tiny_base("llama").to(dtype), OPTIONS.model_copy(update=options), way)


def chunked(engine: Engine, prompt: list[int], sizes: int) -> Tensor:
    """Every row's logits of a prompt that is computed a few tokens at a time."""
    runner = engine.runner
    assert isinstance(runner, NativeRunner)
    sequence = Sequence(SequenceId("r", 0), "t", None, SamplingParams(1), 0, prompt, len(prompt))
    sequence.blocks = list(reversed(range(-(-len(prompt) // runner.block_tokens))))
    parts = []
    for start in range(0, len(prompt), sizes):
        length = min(sizes, len(prompt) - start)
        parts.append(runner.logits(Plan((Chunk(sequence, start, length),)), range(length)))
    return torch.cat(parts)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("way", NATIVE, ids=name_of)
def test_logits_have_the_same_bits_alone_together_and_in_chunks(way: Level, dtype: torch.dtype) -> None:
    engine = engine_of(dtype, way)
    sequences = [trial(number, prompt, None) for number, prompt in enumerate(prompts(9))]
    together = all_logits(engine, sequences)
    for sequence, mixed in zip(sequences, together, strict=True):
        assert torch.equal(all_logits(engine, [sequence])[0], mixed)
        for sizes in (1, 5, 16):
            assert torch.equal(chunked(engine, sequence.tokens, sizes), mixed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("way", NATIVE, ids=name_of)
def test_the_number_of_threads_changes_no_bit(way: Level, dtype: torch.dtype) -> None:
    sequences = [trial(number, prompt, None) for number, prompt in enumerate(prompts(5))]
    one, *others = (all_logits(engine_of(dtype, way, threads=threads), sequences) for threads in (1, 2, 3))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("way", NATIVE, ids=name_of)
def test_bfloat16_is_as_near_to_float32_as_the_reference_is(way: Level) -> None:
    """Both round every product's input; the native step keeps the rest in float32, so it is no further off."""
    base = tiny_base("llama").bfloat16()
    sequences = [trial(number, prompt, None) for number, prompt in enumerate(prompts(6))]
    exact = [oracle(copy.deepcopy(base).float(), sequence.tokens)[0] for sequence in sequences]
    errors = []
    for engine in (engine_of(torch.bfloat16, way), engine_of(torch.bfloat16, None)):
        got = all_logits(engine, sequences)
        squares = torch.cat([(mine.float() - true).square().mean(-1) for mine, true in zip(got, exact, strict=True)])
        errors.append(float(squares.mean().sqrt()))
    native, reference = errors
    assert 0 < native <= 1.1 * reference


def sampled(engine: Engine, wants: list[SamplingParams]) -> dict[str, list[object]]:
    """Tokens and log-probabilities by request, all run together."""
    for number, (prompt, sampling) in enumerate(zip(prompts(len(wants)), wants, strict=True)):
        engine.submit(GenerateRequest(f"r{number}", "t", tuple(prompt), sampling, 60), None)
    told: dict[str, list[object]] = {f"r{number}": [] for number in range(len(wants))}
    while engine.has_work():
        for event in engine.step():
            told[event.request_id] += [*event.tokens, *(p.logprob.__round__(3) for p in event.logprobs)]
    return told


@pytest.mark.parametrize("way", NATIVE, ids=name_of)
def test_greedy_and_drawn_rows_of_one_step_get_what_the_reference_gives(way: Level) -> None:
    common = {"max_tokens": 8, "ignore_eos": True, "seed": 3}
    wants = [
        SamplingParams(temperature=0, **common),
        SamplingParams(temperature=0.9, top_k=20, **common),
        SamplingParams(temperature=0, logprobs=2, **common),
        SamplingParams(temperature=0, **common),
        SamplingParams(temperature=0, logit_bias=((5, 30.0),), **common),
        SamplingParams(temperature=0, repetition_penalty=1.5, **common),
        SamplingParams(temperature=1.2, top_p=0.8, **common),
        SamplingParams(temperature=0, min_tokens=4, stop_token_ids=tuple(range(VOCABULARY // 2)), **common),
    ]
    together = sampled(engine_of(torch.float32, way), wants)
    assert together == sampled(engine_of(torch.float32, None), wants)
    assert len(together["r2"]) == 16  # its log-probabilities are told
    assert len(together["r7"]) >= 4
    assert min(together["r7"][:4]) >= VOCABULARY // 2
