"""Promise P3: our logits are PEFT's, for every LoRA variant, alone and mixed in one batch with base rows."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from service.engine.kernels.levels import Level
from service.settings import EngineOptions
from tests.engines import all_logits, bound_adapter, trial
from tests.models import CONFIGS, VOCABULARY, lora_configs, oracle, random_adapter, save, tiny_base

from .computing import load, name_of, ways

OPTIONS = EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8)
SPREADS = 3
"""How many times PEFT's own spread between its ways of computing is allowed."""


CASES = [(architecture, way) for architecture in CONFIGS for way in ways(architecture)]


def prompt_of(number: int) -> list[int]:
    draw = torch.Generator().manual_seed(100 + number)
    return torch.randint(VOCABULARY, (11 + 3 * number,), generator=draw).tolist()


@pytest.mark.parametrize(("architecture", "way"), CASES, ids=name_of)
def test_logits_are_pefts_alone_and_mixed_with_the_base(architecture: str, way: Level | None, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    engine = load(copy.deepcopy(base), OPTIONS, way)
    oracles = [random_adapter(base, config, seed) for seed, config in enumerate(lora_configs(architecture))]
    sequences, wanted = [], []
    for number, model in enumerate([None, *oracles, None]):
        prompt = prompt_of(number)
        logits, spread = oracle(base if model is None else model, prompt)
        adapter = None
        if model is not None:
            moved = float((logits - oracle(base, prompt)[0]).abs().max())
            assert moved >= 1, f"adapter {number} is too weak to show a difference: {moved}"
            adapter = bound_adapter(engine, base, save(model, tmp_path / str(number)))
        sequences.append(trial(number, prompt, adapter))
        wanted.append((logits, spread))
    mixed = all_logits(engine, sequences)
    alone = [all_logits(engine, [sequence])[0] for sequence in sequences]
    for sequence, (logits, spread), *ours in zip(sequences, wanted, mixed, alone, strict=True):
        for mine in ours:
            difference = float((mine - logits).abs().max())
            assert difference <= SPREADS * spread, f"{sequence.id}: {difference} > {SPREADS} x {spread}"
