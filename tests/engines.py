"""Driving an engine in a test: adapters by the product's own way, logits of whole prompts, tokens of jobs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence as Seq
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.kinds import ArtifactFile, build_manifest
from adapters_registry.manifest import BaseManifest, File, Manifest
from adapters_registry.settings import Limits
from service.base import describe_model
from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.native_runner import NativeRunner
from service.engine.plan import Chunk, Plan
from service.engine.runner import ModelRunner
from service.engine.sequence import Sequence, SequenceId
from service.values import GenerateRequest, SamplingParams

Job = tuple[GenerateRequest, BoundAdapter | None]


def described(base: PreTrainedModel) -> BaseManifest:
    """The untouched model as the registry knows it."""
    return describe_model(base, "base", "sha256:" + "0" * 64)


def judged(base: PreTrainedModel, folder: Path, allowed: Allowances = NOTHING) -> Manifest:
    """The manifest that the registry gives the artifact in ``folder``."""
    return build_manifest(described(base), artifact(folder), Limits(), allowed)


def bound_adapter(engine: Engine, base: PreTrainedModel, folder: Path, allowed: Allowances = NOTHING) -> BoundAdapter:
    """The artifact in ``folder`` as batch rows point at it: judged by the registry, then bound by the engine."""
    manifest = judged(base, folder, allowed)
    engine.check_adapter(manifest)
    tensors = load_file(folder / "adapter_model.safetensors")
    return engine.bind(manifest.digest, manifest.kind, engine.canonicalise(manifest, tensors))


def artifact(folder: Path) -> list[ArtifactFile]:
    """The folder's files as the registry holds them once they are uploaded."""
    files = []
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        path = folder / name
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(ArtifactFile(File(path=name, digest=digest, size=path.stat().st_size), partial(path.open, "rb")))
    return files


def trial(number: int, prompt: list[int], adapter: BoundAdapter | None) -> Sequence:
    """A sequence to ask logits of."""
    return Sequence(SequenceId(str(number), 0), "t", adapter, SamplingParams(1), 0, prompt, len(prompt))


def all_logits(engine: Engine, sequences: list[Sequence]) -> list[Tensor]:
    """Every token's logits [tokens, vocabulary] of the sequences, run as one batch sorted by adapter."""
    runner = engine.runner
    assert isinstance(runner, ModelRunner | NativeRunner)
    ordered = sorted(sequences, key=lambda s: s.digest)
    next_block = 0
    for sequence in ordered:
        count = -(-sequence.length // runner.block_tokens)
        sequence.blocks = list(range(next_block, next_block + count))
        next_block += count
    plan = Plan(tuple(Chunk(s, s.given, s.length - s.given) for s in ordered))
    logits = runner.logits(plan, range(plan.rows)).split([chunk.length for chunk in plan.chunks])
    by_id = {s.id: rows[-len(s.tokens) :] for s, rows in zip(ordered, logits, strict=True)}
    return [by_id[sequence.id] for sequence in sequences]


def greedy_jobs(adapters: Seq[BoundAdapter | None], vocabulary: int, max_tokens: int = 16) -> list[Job]:
    """32 greedy requests of different lengths, spread over the adapters; some share a prefix."""
    text = torch.randint(1, vocabulary, (64,), generator=torch.Generator().manual_seed(5)).tolist()
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0, ignore_eos=True)
    jobs = []
    for number in range(32):
        prompt = text[: 3 + number] if number % 2 else text[number : number + 20]
        request = GenerateRequest(f"r{number}", "t", tuple(prompt), sampling, 60)
        jobs.append((request, adapters[number % len(adapters)]))
    return jobs


def run_jobs(engine: Engine, jobs: Seq[Job]) -> dict[str, list[int]]:
    """Tokens by request of jobs that run together."""
    for job in jobs:
        engine.submit(*job)
    tokens: dict[str, list[int]] = defaultdict(list)
    while engine.has_work():
        for event in engine.step():
            tokens[event.request_id] += event.tokens
    return tokens
