"""Promise P4: a request's greedy tokens are the same alone and in any batch, whatever was loaded before.

In torch this is promised in float32; the native backend keeps it in bfloat16 too, bit by bit.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from service.engine.kernels.levels import Level
from service.settings import EngineOptions
from tests.engines import bound_adapter, greedy_jobs, run_jobs
from tests.models import VOCABULARY, lora_configs, random_adapter, save, tiny_base

from .computing import NATIVE, load, name_of, ways

CASES = [(architecture, way, "float32") for architecture in ("llama", "gpt2") for way in ways(architecture)]
CASES += [(architecture, way, "bfloat16") for architecture in ("llama", "qwen2") for way in NATIVE]


@pytest.mark.parametrize(("architecture", "way", "dtype"), CASES, ids=name_of)
def test_tokens_alone_and_together(architecture: str, way: Level | None, dtype: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    served = copy.deepcopy(base).to(getattr(torch, dtype))
    folders = [
        save(random_adapter(base, config, seed), tmp_path / str(seed))
        for seed, config in enumerate(lora_configs(architecture))
    ]
    options = EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8, batch_tokens=48)
    uncached = options.model_copy(update={"prefix_cache": False})
    engine = load(copy.deepcopy(served), options, way)
    plain = load(copy.deepcopy(served), uncached, way)
    jobs = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    alone = {name: tokens for job in jobs for name, tokens in run_jobs(plain, [job]).items()}
    assert len({tuple(tokens) for tokens in alone.values()}) > 16, "the adapters do not differ"
    assert run_jobs(plain, jobs) == alone
    assert run_jobs(engine, jobs) == alone
    assert run_jobs(engine, jobs) == alone  # now with prefix-cache hits
    reloaded = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    assert run_jobs(engine, reloaded) == alone
    # 12 blocks of 8 tokens hold two or three of these requests: the others are preempted and computed anew.
    one = int(engine.snapshot().kv_blocks_total)
    tight = options.model_copy(update={"kv_cache_bytes": options.kv_cache_bytes // one * 12, "batch_tokens": 13})
    cramped = load(copy.deepcopy(served), tight, way)
    jobs = greedy_jobs([None, *(bound_adapter(cramped, base, folder) for folder in folders)], VOCABULARY)
    assert run_jobs(cramped, jobs) == alone
    assert cramped.snapshot().preemptions > 0
