"""The torch runner between steps: what it still holds."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path

import pytest

from service.engine.kinds.lora import LoraDelta
from service.settings import EngineOptions
from tests.engines import bound_adapter, greedy_jobs, run_jobs
from tests.models import VOCABULARY, lora_configs, random_adapter, save, tiny_base

from .computing import load


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_an_idle_engine_holds_no_adapter(architecture: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    engine = load(copy.deepcopy(base), EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8), None)
    adapter = bound_adapter(engine, base, save(random_adapter(base, lora_configs(architecture)[0], 0), tmp_path))
    weights = [weakref.ref(delta.a_t) for delta in adapter.adds if isinstance(delta, LoraDelta)]
    run_jobs(engine, greedy_jobs([adapter], VOCABULARY, max_tokens=2))
    assert weights
    assert all(weight() is not None for weight in weights)
    del adapter
    gc.collect()
    assert all(weight() is None for weight in weights)
