"""The engine on a CUDA device: PEFT's logits, the same tokens in any company, and all memory back.

python -m pytest -m gpu tests/gpu
"""

from __future__ import annotations

import copy
import gc
import threading
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from service.adapters.loader import Loaded
from service.adapters.store import AdapterStore
from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.load import load_engine
from service.settings import AdapterOptions, EngineOptions
from service.values import AdapterRef, GenerateRequest, SamplingParams
from tests.engines import Job, all_logits, bound_adapter, greedy_jobs, run_jobs, trial
from tests.models import CONFIGS, VOCABULARY, lora_configs, oracle, random_adapter, save, tiny_base
from tests.promises import SPREADS, check_alone_is_together, check_parity, prompt_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

OPTIONS = EngineOptions(kv_cache_bytes=4 << 20, block_tokens=8)


def load(base: PreTrainedModel, options: EngineOptions = OPTIONS) -> Engine:
    return load_engine(base.to("cuda"), options, name="base")


def adapters_of(engine: Engine, base: PreTrainedModel, folder: Path) -> list[BoundAdapter]:
    """One of every LoRA variant, as PEFT saves it."""
    models = [random_adapter(base, config, seed) for seed, config in enumerate(lora_configs("llama"))]
    return [bound_adapter(engine, base, save(model, folder / str(number))) for number, model in enumerate(models)]


def held_bytes() -> int:
    """Device memory that tensors hold, once nothing is left to collect."""
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


# -- the same numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", CONFIGS)
def test_logits_are_pefts_alone_and_mixed_with_the_base(architecture: str, tmp_path: Path) -> None:
    check_parity(tiny_base(architecture), architecture, load, tmp_path, "cuda")


@pytest.mark.parametrize("architecture", CONFIGS)
def test_tokens_alone_and_together(architecture: str, tmp_path: Path) -> None:
    check_alone_is_together(tiny_base(architecture), architecture, load, tmp_path)


def test_float32_is_not_tf32_whatever_the_process_was_set_to(tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        check_parity(tiny_base("llama"), "llama", load, tmp_path, "cuda")
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_in_bfloat16_logits_are_as_near_to_float32_as_pefts(tmp_path: Path) -> None:
    """PEFT's own bfloat16 is so far from the float32 of the same weights; ours may be ``SPREADS`` times as far."""
    base = tiny_base("llama").bfloat16()
    engine = load(copy.deepcopy(base))
    for number, config in enumerate(lora_configs("llama")):
        model = random_adapter(base, config, number)
        adapter = bound_adapter(engine, base, save(model, tmp_path / str(number)))
        prompt = prompt_of(number)
        rounded, _ = oracle(model.to("cuda"), prompt)
        exact, _ = oracle(copy.deepcopy(model).float(), prompt)
        [ours] = all_logits(engine, [trial(number, prompt, adapter)])
        allowed = SPREADS * float((rounded - exact).abs().max())
        assert float((ours - exact).abs().max()) <= allowed


def test_a_device_is_served_by_torch_and_without_attention_that_plans_for_each_shape() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    assert load(tiny_base("llama")).snapshot().backend == "torch, torch.float32 linears"
    assert not torch.backends.cuda.cudnn_sdp_enabled()


# -- sampling -----------------------------------------------------------------------------------------------


def seeded(adapters: list[BoundAdapter], first_seed: int) -> list[Job]:
    """24 requests that draw, with every way of cutting the tail."""
    jobs: list[Job] = []
    for number in range(24):
        cut = [{"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.02}, {"repetition_penalty": 1.3}][number % 4]
        sampling = SamplingParams(max_tokens=16, temperature=1.2, seed=first_seed + number, ignore_eos=True, **cut)
        request = GenerateRequest(f"s{number}", "t", tuple(prompt_of(number % 5)), sampling, 60)
        jobs.append((request, adapters[number % len(adapters)]))
    return jobs


def test_seeds_draw_the_same_tokens_again_and_in_any_company(tmp_path: Path) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base))
    adapters = adapters_of(engine, base, tmp_path)
    first = run_jobs(engine, seeded(adapters, 0))
    assert run_jobs(engine, seeded(adapters, 0)) == first
    assert {name: tokens for job in seeded(adapters, 0) for name, tokens in run_jobs(engine, [job]).items()} == first
    assert run_jobs(engine, seeded(adapters, 1000)) != first


# -- memory -------------------------------------------------------------------------------------------------


def test_an_aborted_request_frees_its_blocks_at_once(tmp_path: Path) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS.model_copy(update={"prefix_cache": False}))
    adapters = adapters_of(engine, base, tmp_path)
    jobs = greedy_jobs([None, *adapters], VOCABULARY)
    whole = run_jobs(engine, jobs)
    before = held_bytes()
    for job in jobs:
        engine.submit(*job)
    for _ in range(4):
        engine.step()
    assert engine.snapshot().kv_blocks_used > 0
    for request, _ in jobs[::2]:
        engine.cancel(request.request_id)
    left = run_jobs(engine, [])
    assert engine.snapshot().kv_blocks_used == 0
    for request, _ in jobs[1::2]:
        tokens = left[request.request_id]
        assert tokens
        assert tokens == whole[request.request_id][-len(tokens) :]
    assert held_bytes() == before


class Binding:
    """Loads from folders, in the store's threads."""

    def __init__(self, engine: Engine, base: PreTrainedModel, folders: dict[str, Path]) -> None:
        self.engine, self.base, self.folders = engine, base, folders

    def load(self, ref: AdapterRef) -> Loaded[BoundAdapter]:
        adapter = bound_adapter(self.engine, self.base, self.folders[ref.digest])
        return Loaded(adapter, adapter.nbytes, 0.0)


async def test_evicting_an_adapter_returns_its_device_memory(tmp_path: Path) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base))
    folder = save(random_adapter(base, lora_configs("llama")[3], 3), tmp_path / "one")
    digest = bound_adapter(engine, base, folder).digest
    ref = AdapterRef("t", "one", 1, digest)
    run_jobs(engine, greedy_jobs([None, bound_adapter(engine, base, folder)], VOCABULARY))
    before = held_bytes()
    store = AdapterStore(Binding(engine, base, {digest: folder}), AdapterOptions())
    for _ in range(3):
        lease = await store.acquire(ref)
        nbytes = lease.adapter.nbytes
        assert nbytes > 100_000
        assert held_bytes() - before >= nbytes
        run_jobs(engine, greedy_jobs([None, lease.adapter], VOCABULARY))
        assert not store.evict(digest)
        lease.release()
        del lease
        assert store.evict(digest)
        assert held_bytes() == before
    await store.close()


def test_unloading_the_engine_returns_all_device_memory(tmp_path: Path) -> None:
    base = tiny_base("llama")

    def once() -> int:
        engine = load(copy.deepcopy(base))
        run_jobs(engine, greedy_jobs([None, *adapters_of(engine, base, tmp_path)], VOCABULARY))
        return held_bytes()

    once()  # cuBLAS keeps a workspace for the life of the process
    before = held_bytes()
    assert once() - before > OPTIONS.kv_cache_bytes // 2
    assert held_bytes() == before


def test_adapters_loaded_in_other_threads_do_not_disturb_what_runs(tmp_path: Path) -> None:
    base = tiny_base("llama")
    engine = load(copy.deepcopy(base), OPTIONS.model_copy(update={"prefix_cache": False}))
    adapters = adapters_of(engine, base, tmp_path)
    jobs = greedy_jobs([None, *adapters], VOCABULARY)
    quiet = run_jobs(engine, jobs)
    done = threading.Event()
    loaded = []

    def churn() -> None:
        while not done.is_set():
            loaded.append(bound_adapter(engine, base, tmp_path / str(len(loaded) % len(adapters))).nbytes)

    loaders = [threading.Thread(target=churn) for _ in range(2)]
    for thread in loaders:
        thread.start()
    try:
        for _ in range(5):
            assert run_jobs(engine, jobs) == quiet
    finally:
        done.set()
        for thread in loaders:
            thread.join()
    assert loaded
