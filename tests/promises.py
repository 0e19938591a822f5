"""Promises P3 and P4 as checks of any engine, so that the CPU's tests and a device's ask the same of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from service.engine.engine import Engine
from service.settings import EngineOptions
from tests.engines import all_logits, bound_adapter, greedy_jobs, run_jobs, trial
from tests.models import VOCABULARY, lora_configs, oracle, random_adapter, save

Load = Callable[[PreTrainedModel, EngineOptions], Engine]
"""Makes an engine of a float32 base on the CPU, which it may use up, on the device and in the type under test."""
SPREADS = 3
"""How many times PEFT's own spread between its ways of computing is allowed."""


def prompt_of(number: int) -> list[int]:
    draw = torch.Generator().manual_seed(100 + number)
    return torch.randint(VOCABULARY, (11 + 3 * number,), generator=draw).tolist()


def check_parity(base: PreTrainedModel, architecture: str, load: Load, folder: Path, device: str = "cpu") -> None:
    """P3: logits are PEFT's on the same device, for every LoRA variant, alone and mixed with base rows."""
    engine = load(copy.deepcopy(base), EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8))
    plain = copy.deepcopy(base).to(device)
    oracles = [random_adapter(base, config, seed) for seed, config in enumerate(lora_configs(architecture))]
    sequences, wanted = [], []
    for number, model in enumerate([None, *oracles, None]):
        prompt = prompt_of(number)
        adapter = None
        if model is not None:
            adapter = bound_adapter(engine, base, save(model, folder / str(number)))
        logits, spread = oracle(plain if model is None else model.to(device), prompt)
        if model is not None:
            moved = float((logits - oracle(plain, prompt)[0]).abs().max())
            assert moved >= 1, f"adapter {number} is too weak to show a difference: {moved}"
        sequences.append(trial(number, prompt, adapter))
        wanted.append((logits, spread))
    mixed = all_logits(engine, sequences)
    alone = [all_logits(engine, [sequence])[0] for sequence in sequences]
    for sequence, (logits, spread), *ours in zip(sequences, wanted, mixed, alone, strict=True):
        for mine in ours:
            difference = float((mine - logits).abs().max())
            assert difference <= SPREADS * spread, f"{sequence.id}: {difference} > {SPREADS} x {spread}"


def check_alone_is_together(base: PreTrainedModel, architecture: str, load: Load, folder: Path) -> None:
    """P4: greedy tokens are the same alone and together, after a reload, with prefix-cache hits and preemption."""
    folders = [
        save(random_adapter(base, config, seed), folder / str(seed))
        for seed, config in enumerate(lora_configs(architecture))
    ]
    options = EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8, batch_tokens=48)
    engine = load(copy.deepcopy(base), options)
    plain = load(copy.deepcopy(base), options.model_copy(update={"prefix_cache": False}))
    jobs = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    alone = {name: tokens for job in jobs for name, tokens in run_jobs(plain, [job]).items()}
    assert len({tuple(tokens) for tokens in alone.values()}) > 16, "the adapters do not differ"
    assert run_jobs(plain, jobs) == alone
    assert run_jobs(engine, jobs) == alone
    hits = engine.snapshot().prefix_hit_tokens
    assert run_jobs(engine, jobs) == alone
    assert engine.snapshot().prefix_hit_tokens > hits
    reloaded = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    assert run_jobs(engine, reloaded) == alone
    # 12 blocks of 8 tokens hold two or three of these requests: the others are preempted and computed anew.
    one = int(engine.snapshot().kv_blocks_total)
    tight = options.model_copy(update={"kv_cache_bytes": options.kv_cache_bytes // one * 12, "batch_tokens": 13})
    cramped = load(copy.deepcopy(base), tight)
    jobs = greedy_jobs([None, *(bound_adapter(cramped, base, folder) for folder in folders)], VOCABULARY)
    assert run_jobs(cramped, jobs) == alone
    assert cramped.snapshot().preemptions > 0
