"""Promise P4: a request's greedy tokens are the same alone and in any batch, whatever was loaded before."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from service.engine.load import load_engine
from service.settings import EngineOptions
from tests.engines import bound_adapter, greedy_jobs, run_jobs
from tests.models import VOCABULARY, lora_configs, random_adapter, save, tiny_base


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_tokens_alone_and_together(architecture: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    folders = [
        save(random_adapter(base, config, seed), tmp_path / str(seed))
        for seed, config in enumerate(lora_configs(architecture))
    ]
    options = EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8, batch_tokens=48)
    uncached = options.model_copy(update={"prefix_cache": False})
    engine = load_engine(copy.deepcopy(base), options, name=architecture)
    plain = load_engine(copy.deepcopy(base), uncached, name=architecture)
    jobs = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    alone = {name: tokens for job in jobs for name, tokens in run_jobs(plain, [job]).items()}
    assert len({tuple(tokens) for tokens in alone.values()}) > 16, "the adapters do not differ"
    assert run_jobs(plain, jobs) == alone
    assert run_jobs(engine, jobs) == alone
    assert run_jobs(engine, jobs) == alone  # now with prefix-cache hits
    reloaded = greedy_jobs([None, *(bound_adapter(engine, base, folder) for folder in folders)], VOCABULARY)
    assert run_jobs(engine, reloaded) == alone
