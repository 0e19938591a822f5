"""Promise P1 under load: aliases move and adapters are evicted while 200 streams run; each answer is its digest's."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from peft import LoraConfig
from transformers import PreTrainedModel

from adapters_registry.client import RegistryClient
from loadtest.server import RunningService, running_service
from service.base import load_model, prepare_base
from service.engine.load import load_engine
from service.settings import EngineOptions, Settings
from service.values import GenerateRequest, SamplingParams
from tests.acceptance.up import eventually
from tests.engines import bound_adapter, run_jobs
from tests.models import random_adapter, save

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

ADAPTERS, VERSIONS, STREAMS, MOVES, CONCURRENCY = 8, 2, 200, 50, 8
TOKENS = 12
ROOM = 10
"""Versions that fit in memory: two more than requests run at once, six fewer than there are."""
PROMPTS = [[1000 * (at + 1) + n for n in range(8)] for at in range(3)]


@dataclass(frozen=True)
class Stage:
    service: RunningService
    expected: dict[tuple[str, int], list[int]]
    """(version, prompt number) → greedy tokens, by an engine that held one adapter at a time"""
    digests: dict[str, str]
    """version, as ``tenant/name@number`` → digest, as the registry has it"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("swap")
    base = load_model(prepare_base(Settings(), print).path, "float32", "cpu", attn_implementation="eager")
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    folders = {
        f"tenant{at % 3}/a{at}@{version}": save(
            random_adapter(base, config, at * 10 + version, 0.06), root / f"{at}-{version}"
        )
        for at in range(ADAPTERS)
        for version in range(1, VERSIONS + 1)
    }
    expected = reference(base, folders)
    slab = 4 * sum(
        4 * (shape.in_features + shape.out_features)
        for name, shape in ((n, m) for n, m in base.named_modules())
        if name.rpartition(".")[2] in ("q_proj", "v_proj", "down_proj")
    )
    with running_service(
        root / "data", "--dtype", "float32", environment={"QUICKCHANGE_ADAPTERS__HOST_BYTES": str(ROOM * slab)}
    ) as service:
        for ref, folder in folders.items():
            RegistryClient(service.registry).push(folder, *ref.partition("@")[0].split("/"))
        eventually(lambda: httpx.get(f"{service.url}/v1/models/{ref}").status_code == 200)
        yield Stage(service, expected, digests(service.registry))


def reference(base: PreTrainedModel, folders: dict[str, Path]) -> dict[tuple[str, int], list[int]]:
    engine = load_engine(copy.deepcopy(base), EngineOptions(prefix_cache=False), name="reference")
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    expected = {}
    for ref, folder in folders.items():
        adapter = bound_adapter(engine, base, folder)
        jobs = [
            (GenerateRequest(str(number), "t", tuple(prompt), sampling, 60), adapter)
            for number, prompt in enumerate(PROMPTS)
        ]
        for number, tokens in run_jobs(engine, jobs).items():
            expected[ref, int(number)] = tokens
    assert len({tuple(tokens) for tokens in expected.values()}) > len(expected) // 2
    return expected


def digests(registry: str) -> dict[str, str]:
    found = {}
    for at in range(ADAPTERS):
        record = RegistryClient(registry).adapter(f"tenant{at % 3}", f"a{at}")
        found |= {f"{record.tenant}/{record.name}@{v.number}": v.digest for v in record.versions}
    return found


async def stream(client: httpx.AsyncClient, model: str, prompt: int) -> tuple[str, str, str]:
    """The version and digest that answered, and the text."""
    body = {
        "model": model,
        "prompt": PROMPTS[prompt],
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }
    text = []
    async with client.stream("POST", "/v1/completions", json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                text += [choice["text"] for choice in chunk["choices"]]
    return response.headers["x-adapter"], response.headers["x-adapter-digest"], "".join(text)


async def move_aliases(registry: str, pause_s: float) -> int:
    """Point random adapters' production at another version, ``MOVES`` times."""
    client = RegistryClient(registry)
    draw = random.Random(1)
    for _ in range(MOVES):
        at = draw.randrange(ADAPTERS)
        await asyncio.to_thread(client.promote, f"tenant{at % 3}", f"a{at}", draw.randint(1, VERSIONS), "production")
        await asyncio.sleep(pause_s)
    return MOVES


async def test_every_answer_is_of_the_digest_it_names(stage: Stage) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(prepare_base(Settings(), print).path)
    expected = {key: tokenizer.decode(tokens, skip_special_tokens=True) for key, tokens in stage.expected.items()}
    gate = asyncio.Semaphore(CONCURRENCY)
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=stage.service.url, timeout=120, limits=limits) as client:

        async def one(number: int) -> tuple[str, str, int, str]:
            at, prompt = number % ADAPTERS, number % len(PROMPTS)
            async with gate:
                version, digest, text = await stream(client, f"tenant{at % 3}/a{at}", prompt)
            return version, digest, prompt, text

        *answers, moved = await asyncio.gather(
            *(one(number) for number in range(STREAMS)), move_aliases(stage.service.registry, 0.2)
        )
    assert moved == MOVES
    for version, digest, prompt, text in answers:
        assert digest == stage.digests[version]
        assert text == expected[version, prompt], f"{version} did not give this answer"
    versions = {version for version, _, _, _ in answers}
    assert len(versions) > ROOM, "so few versions answered that none had to be evicted"
