"""Promise P3: our logits are PEFT's, for every LoRA variant, alone and mixed in one batch with base rows."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from service.engine.batch import build_batch
from service.engine.load import load_engine
from service.engine.runner import ModelRunner
from service.engine.scheduler import Chunk, Plan
from service.engine.sequence import Sequence, SequenceId
from service.settings import EngineOptions
from service.values import SamplingParams
from tests.adapters import bound_adapter
from tests.models import CONFIGS, VOCABULARY, lora_configs, oracle, random_adapter, save, tiny_base

OPTIONS = EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8)
SPREADS = 3
"""How many times PEFT's own spread between its ways of computing is allowed."""


def prompt_of(number: int) -> list[int]:
    draw = torch.Generator().manual_seed(100 + number)
    return torch.randint(VOCABULARY, (11 + 3 * number,), generator=draw).tolist()


def all_logits(runner: ModelRunner, sequences: list[Sequence]) -> list[Tensor]:
    """Every row's logits of the sequences, run as one batch in the order given."""
    next_block = 0
    for sequence in sequences:
        count = -(-len(sequence.tokens) // runner.cache.block_tokens)
        sequence.blocks = list(range(next_block, next_block + count))
        next_block += count
    plan = Plan(tuple(Chunk(s, 0, len(s.tokens)) for s in sequences))
    batch = build_batch(plan, runner.cache.block_tokens, runner.device)
    rows = torch.arange(plan.rows)
    return list(runner.logits(replace(batch, sample_rows=rows)).split([len(s.tokens) for s in sequences]))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_logits_are_pefts_alone_and_mixed_with_the_base(architecture: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    engine_model = copy.deepcopy(base)
    oracles = [random_adapter(base, config, seed) for seed, config in enumerate(lora_configs(architecture))]
    engine = load_engine(engine_model, OPTIONS, name=architecture)
    runner = engine._runner
    assert isinstance(runner, ModelRunner)
    sequences, wanted = [], []
    for number, model in enumerate([None, *oracles, None]):
        prompt = prompt_of(number)
        logits, spread = oracle(base if model is None else model, prompt)
        adapter = None
        if model is not None:
            moved = (logits - oracle(base, prompt)[0]).abs().max()
            assert moved >= 1, f"adapter {number} is too weak to show a difference: {moved}"
            adapter = bound_adapter(engine, base, save(model, tmp_path / str(number)))
        sequences.append(
            Sequence(SequenceId(str(number), 0), "t", adapter, SamplingParams(1), 0, prompt, len(prompt))
        )
        wanted.append((logits, spread))
    sequences.sort(key=lambda s: s.digest)
    wanted = [wanted[int(s.id.request_id)] for s in sequences]
    mixed = all_logits(runner, sequences)
    alone = [all_logits(runner, [sequence])[0] for sequence in sequences]
    for sequence, (logits, spread), *ours in zip(sequences, wanted, mixed, alone, strict=True):
        for mine in ours:
            difference = float((mine - logits).abs().max())
            assert difference <= SPREADS * spread, f"adapter {sequence.id}: {difference} > 3 x {spread}"
