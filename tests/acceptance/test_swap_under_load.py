"""Promise P1 under load: aliases move and adapters are evicted while streams run; each answer is its digest's."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from transformers import AutoTokenizer, PreTrainedModel

from adapters_registry.client import RegistryClient
from loadtest.server import running_service
from service.base import load_model, prepare_base
from service.engine.load import load_engine
from service.settings import EngineOptions, Settings
from service.values import GenerateRequest, SamplingParams
from tests.acceptance.conftest import HOST_BYTES
from tests.acceptance.plane import Small
from tests.acceptance.small import TARGETS, load_small_base, save_adapter
from tests.acceptance.up import eventually
from tests.engines import bound_adapter, run_jobs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

ADAPTERS, VERSIONS, STREAMS, MOVES, CONCURRENCY = 8, 2, 200, 50, 8
TOKENS, RANK = 12, 4
ROOM = 10
"""Versions that fit in memory: two more than requests run at once, six fewer than there are."""


@dataclass(frozen=True)
class Stage:
    url: str
    registry: str
    checkpoint: Path
    prompts: list[list[int]]
    expected: dict[tuple[str, int], list[int]]
    """(version, prompt number) → greedy tokens, by an engine that held one adapter at a time"""
    digests: dict[str, str]
    """version, as ``tenant/name@number`` → digest, as the registry has it"""


@pytest.fixture(scope="module")
def stage(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    base, root = load_small_base(small.base), tmp_path_factory.mktemp("swap")
    assert ROOM * slab_bytes(base) <= HOST_BYTES < (ROOM + 1) * slab_bytes(base)
    return prepared(small.up.url, small.up.registry, small.base, base, root, strength=0.15)


@pytest.fixture(scope="module")
def bundled_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root, checkpoint = tmp_path_factory.mktemp("swap"), prepare_base(Settings(), print).path
    base = load_model(checkpoint, "float32", "cpu", attn_implementation="eager")
    room = {"QUICKCHANGE_ADAPTERS__HOST_BYTES": str(ROOM * slab_bytes(base))}
    with running_service(root / "data", "--dtype", "float32", environment=room) as service:
        yield prepared(service.url, service.registry, checkpoint, base, root, strength=0.06)


def slab_bytes(base: PreTrainedModel) -> int:
    """Of an adapter of ``save_adapter`` in memory."""
    shapes = (module for name, module in base.named_modules() if name.rpartition(".")[2] in TARGETS)
    return RANK * sum(4 * (shape.in_features + shape.out_features) for shape in shapes)


def prepared(url: str, registry: str, checkpoint: Path, base: PreTrainedModel, root: Path, strength: float) -> Stage:
    """Every version pushed and its answers known."""
    folders = {
        f"tenant{at % 3}/a{at}@{version}": save_adapter(
            base, root / f"{at}-{version}", at * 10 + version, RANK, strength
        )
        for at in range(ADAPTERS)
        for version in range(1, VERSIONS + 1)
    }
    words = base.config.vocab_size // 50
    prompts = [[words * (at + 1) + n for n in range(8)] for at in range(3)]
    expected = reference(base, folders, prompts)
    for ref, folder in folders.items():
        with RegistryClient(registry) as client:
            client.push(folder, *ref.partition("@")[0].split("/"))
    eventually(lambda: httpx.get(f"{url}/v1/models/{ref}").status_code == 200)
    return Stage(url, registry, checkpoint, prompts, expected, digests(registry))


def reference(
    base: PreTrainedModel, folders: dict[str, Path], prompts: list[list[int]]
) -> dict[tuple[str, int], list[int]]:
    engine = load_engine(copy.deepcopy(base), EngineOptions(prefix_cache=False), name="reference")
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    expected = {}
    for ref, folder in folders.items():
        adapter = bound_adapter(engine, base, folder)
        jobs = [
            (GenerateRequest(str(number), "t", tuple(prompt), sampling, 60), adapter)
            for number, prompt in enumerate(prompts)
        ]
        for number, tokens in run_jobs(engine, jobs).items():
            expected[ref, int(number)] = tokens
    assert len({tuple(tokens) for tokens in expected.values()}) > len(expected) // 2
    return expected


def digests(registry: str) -> dict[str, str]:
    found = {}
    with RegistryClient(registry) as client:
        for at in range(ADAPTERS):
            record = client.adapter(f"tenant{at % 3}", f"a{at}")
            found |= {f"{record.tenant}/{record.name}@{v.number}": v.digest for v in record.versions}
    return found


async def stream(client: httpx.AsyncClient, model: str, prompt: list[int]) -> tuple[str, str, str]:
    """The version and digest that answered, and the text."""
    body = {
        "model": model,
        "prompt": prompt,
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


def move_aliases(registry: str) -> None:
    """Point random adapters' production at another version, ``MOVES`` times."""
    draw = random.Random(1)
    with RegistryClient(registry) as client:
        for _ in range(MOVES):
            at = draw.randrange(ADAPTERS)
            client.promote(f"tenant{at % 3}", f"a{at}", draw.randint(1, VERSIONS), "production")


async def check(stage: Stage) -> None:
    """Streams until ``STREAMS`` have been answered and the aliases have moved."""
    tokenizer = AutoTokenizer.from_pretrained(stage.checkpoint)
    expected = {key: tokenizer.decode(tokens, skip_special_tokens=True) for key, tokens in stage.expected.items()}
    moves = asyncio.create_task(asyncio.to_thread(move_aliases, stage.registry))
    answers: list[tuple[str, str, int, str]] = []
    limits = httpx.Limits(max_connections=CONCURRENCY)
    numbers = itertools.count()
    async with httpx.AsyncClient(base_url=stage.url, timeout=120, limits=limits) as client:

        async def ask() -> None:
            while len(answers) < STREAMS or not moves.done():
                number = next(numbers)
                at, prompt = number % ADAPTERS, number % len(stage.prompts)
                answers.append((*await stream(client, f"tenant{at % 3}/a{at}", stage.prompts[prompt]), prompt))

        await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
    await moves
    for version, digest, text, prompt in answers:
        assert digest == stage.digests[version]
        assert text == expected[version, prompt], f"{version} did not give this answer"
    versions = {version for version, _, _, _ in answers}
    assert len(versions) > ROOM, "so few versions answered that none had to be evicted"


async def test_every_answer_is_of_the_digest_it_names(stage: Stage) -> None:
    await check(stage)


@pytest.mark.slow
async def test_so_is_every_answer_on_the_bundled_base(bundled_stage: Stage) -> None:
    await check(bundled_stage)
