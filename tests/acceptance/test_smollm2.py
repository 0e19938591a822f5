"""Promises P3 and P4 on the bundled base itself, in float32."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import PreTrainedModel

from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from service.adapters.store import AdapterStore
from service.base import load_model, prepare_base
from service.engine.engine import Engine
from service.engine.load import load_engine
from service.settings import AdapterOptions, EngineOptions, Settings
from tests.engines import all_logits, bound_adapter, described, greedy_jobs, judged, run_jobs, trial
from tests.fakes import FakeSource
from tests.models import lora_configs, oracle, random_adapter, save

pytestmark = pytest.mark.acceptance

SPREADS = 3
PROMPT_TOKENS = 24
VOCABULARY = 49152


@pytest.fixture(scope="module")
def base() -> PreTrainedModel:
    path = prepare_base(Settings(), lambda line: print(line, file=sys.stderr)).path
    return load_model(path, "float32", "cpu", attn_implementation="eager")


@pytest.fixture(scope="module")
def engine(base: PreTrainedModel) -> Engine:
    return load_engine(
        copy.deepcopy(base), EngineOptions(kv_cache_bytes=256 << 20, prefix_cache=False), name="smollm2"
    )


@pytest.fixture(scope="module")
def folders(base: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight adapters saved by PEFT."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        save(random_adapter(base, config, seed, STRENGTH), root / str(seed)) for seed, config in enumerate(_configs())
    ]


STRENGTH = 0.05


def _configs() -> list[LoraConfig]:
    return lora_configs("llama")


def test_logits_are_pefts(base: PreTrainedModel, engine: Engine, folders: list[Path]) -> None:
    draw = torch.Generator().manual_seed(3)
    prompts = [torch.randint(VOCABULARY, (PROMPT_TOKENS,), generator=draw).tolist() for _ in range(9)]
    wanted = [oracle(base, prompts[0])]
    for seed, config in enumerate(_configs()):
        prompt = prompts[seed + 1]
        wanted.append(oracle(random_adapter(base, config, seed, STRENGTH), prompt))
        moved = float((wanted[-1][0] - oracle(base, prompt)[0]).abs().max())
        assert moved >= 1, f"adapter {seed} moves no logit by 1: {moved}"
    adapters = [None, *(bound_adapter(engine, base, folder) for folder in folders)]
    sequences = [trial(n, prompt, adapters[n]) for n, prompt in enumerate(prompts)]
    mixed = all_logits(engine, sequences)
    alone = [all_logits(engine, [sequence])[0] for sequence in sequences]
    for number, ((logits, spread), *ours) in enumerate(zip(wanted, mixed, alone, strict=True)):
        for mine in ours:
            difference = float((mine - logits).abs().max())
            assert difference <= SPREADS * spread, f"adapter {number}: {difference} > {SPREADS} x {spread}"
        print(f"adapter {number}: ours {difference:.1e}, PEFT's own spread {spread:.1e}")


async def test_32_mixed_requests_give_the_tokens_each_gives_alone(
    base: PreTrainedModel, engine: Engine, folders: list[Path], tmp_path: Path
) -> None:
    source = FakeSource()
    refs = [
        source.publish(
            judged(base, folder).modules, load_file(folder / "adapter_model.safetensors"), described(base).digest
        )
        for folder in folders
    ]
    loader = SlabLoader(source, SlabCache(tmp_path, 1 << 30), described(base), engine)
    store = AdapterStore(loader, AdapterOptions())
    leases = [await store.acquire(ref) for ref in refs]
    jobs = greedy_jobs([None, *(lease.adapter for lease in leases)], VOCABULARY, 12)
    alone = {name: tokens for job in jobs for name, tokens in run_jobs(engine, [job]).items()}
    assert len({tuple(tokens) for tokens in alone.values()}) > 16, "the adapters do not differ"
    assert run_jobs(engine, jobs) == alone
    del jobs
    for lease in leases:
        lease.release()
        assert store.evict(lease.ref.digest)
    fetched = list(source.calls)
    leases = [await store.acquire(ref) for ref in refs]
    assert source.calls == fetched, "reloaded from the slabs on disk"
    assert run_jobs(engine, greedy_jobs([None, *(lease.adapter for lease in leases)], VOCABULARY, 12)) == alone
    await store.close()
