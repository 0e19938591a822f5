"""Promise P4: a request's greedy tokens are the same alone and in any batch, whatever was loaded before."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence as Seq
from pathlib import Path

import pytest
import torch

from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.load import load_engine
from service.settings import EngineOptions
from service.values import GenerateRequest, SamplingParams
from tests.adapters import bound_adapter
from tests.models import VOCABULARY, lora_configs, random_adapter, save, tiny_base

Job = tuple[GenerateRequest, BoundAdapter | None]


def run(engine: Engine, jobs: Seq[Job]) -> dict[str, list[int]]:
    """Tokens by request of jobs that run together."""
    for job in jobs:
        engine.submit(*job)
    tokens: dict[str, list[int]] = defaultdict(list)
    while engine.has_work():
        for event in engine.step():
            tokens[event.request_id] += event.tokens
    return tokens


def jobs_over(adapters: Seq[BoundAdapter | None], tag: str = "") -> list[Job]:
    """32 greedy requests of different lengths, spread over the adapters; some share a prefix."""
    draw = torch.Generator().manual_seed(5)
    text = torch.randint(1, VOCABULARY, (64,), generator=draw).tolist()
    jobs = []
    for number in range(32):
        prompt = text[: 3 + number] if number % 2 else text[number : number + 20]
        sampling = SamplingParams(max_tokens=16, temperature=0, ignore_eos=True)
        jobs.append(
            (
                GenerateRequest(f"{number}{tag}", "t", None, tuple(prompt), sampling, 60),
                adapters[number % len(adapters)],
            )
        )
    return jobs


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_tokens_alone_and_together(architecture: str, tmp_path: Path) -> None:
    base = tiny_base(architecture)
    folders = [
        save(random_adapter(base, config, seed), tmp_path / str(seed))
        for seed, config in enumerate(lora_configs(architecture))
    ]
    options = EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8, batch_tokens=48)
    engine = load_engine(copy.deepcopy(base), options, name=architecture)
    plain = load_engine(copy.deepcopy(base), options.model_copy(update={"prefix_cache": False}), name=architecture)
    adapters = [None, *(bound_adapter(engine, base, folder) for folder in folders)]
    alone = {}
    for job in jobs_over(adapters):
        alone.update(run(plain, [job]))
    assert len({tuple(tokens) for tokens in alone.values()}) > 16, "the adapters do not differ"
    assert run(plain, jobs_over(adapters)) == alone
    assert run(engine, jobs_over(adapters)) == alone
    assert run(engine, jobs_over(adapters)) == alone  # now with prefix-cache hits
    reloaded = [None, *(bound_adapter(engine, base, folder) for folder in folders)]
    assert run(engine, jobs_over(reloaded)) == alone
