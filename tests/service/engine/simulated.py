"""A runner without weights that keeps a simulated KV cache and refuses to read what is not the row's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from adapters_registry.capabilities import LORA
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter, FrontKeys, FrontRows
from service.engine.backend import missing
from service.engine.blocks import BlockPool
from service.engine.engine import Engine, EngineLimits
from service.engine.model import Sites
from service.engine.plan import Chunk, Outcome, Plan, Sampled
from service.engine.sampling import not_finite
from service.engine.scheduler import SchedulerLimits
from service.engine.sequence import Sequence
from service.values import GenerateRequest, SamplingParams

VOCABULARY = 97
EOS = 0


def next_token(tenant: str, digest: str, tokens: Seq[int]) -> int:
    """The simulated model: the next token depends on who asks and on every token so far."""
    text = f"{tenant}|{digest}|{list(tokens)}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") % VOCABULARY


class SimulatedRunner:
    """Writes what each row's KV would be made of, and checks every context position before use."""

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.cells: dict[tuple[int, int], tuple[str, str, int]] = {}
        self.plans: list[Plan] = []
        self.fail_next = False
        self.broken: set[str] = set()
        """Digests whose rows raise."""
        self.not_finite: set[str] = set()
        """Digests whose rows give no finite logit."""

    def run(self, plan: Plan) -> list[Outcome]:
        self.plans.append(plan)
        if self.fail_next:
            self.fail_next = False
            raise RuntimeError("the model broke")
        if any(chunk.sequence.digest in self.broken for chunk in plan.chunks):
            raise RuntimeError("an adapter broke the model")
        for chunk in plan.chunks:
            for at in range(self._first(chunk), chunk.start + chunk.length):
                self.cells[self._cell(chunk.sequence, at)] = self._content(chunk.sequence, at)
        drawn: list[Outcome] = []
        for chunk in plan.chunks:
            sequence = chunk.sequence
            for at in range(chunk.start + chunk.length):
                assert self.cells[self._cell(sequence, at)] == self._content(sequence, at)
            if chunk.samples and sequence.digest in self.not_finite:
                drawn.append(not_finite(sequence))
            elif chunk.samples:
                drawn.append(Sampled(next_token(sequence.tenant, sequence.digest, sequence.tokens), None))
        return drawn

    def _cell(self, sequence: Sequence, at: int) -> tuple[int, int]:
        return sequence.blocks[at // self.block_tokens], at % self.block_tokens

    def _first(self, chunk: Chunk) -> int:
        """The first position that the chunk writes: an adapter's keys go before its first row."""
        sequence = chunk.sequence
        begins = sequence.given and chunk.start == sequence.front
        return sequence.published * self.block_tokens if begins else chunk.start

    @staticmethod
    def _content(sequence: Sequence, at: int) -> tuple[str, str, int]:
        if at < sequence.front:
            return "", sequence.digest, at  # the adapter's own rows are of no tenant
        return sequence.tenant, sequence.digest, hash(tuple(sequence.tokens[: at + 1 - sequence.front]))


@dataclass(frozen=True)
class SimulatedBackend:
    """Runs what is a digest only."""

    runner: SimulatedRunner
    blocks: int
    name = "simulated"
    sites = Sites({}, {})
    dtype = torch.float32
    device = torch.device("cpu")
    capabilities = frozenset({LORA})

    def supports(self, manifest: Manifest) -> str | None:
        return missing(manifest, self)

    def place(self, adapter: BoundAdapter) -> BoundAdapter:
        return adapter


def simulated_engine(
    *,
    blocks: int = 12,
    block_tokens: int = 4,
    batch_tokens: int = 16,
    running: int = 8,
    waiting: int = 100,
    prefix_cache: bool = True,
    chunk_tokens: int | None = None,
    context_tokens: int = 64,
) -> tuple[Engine, SimulatedRunner]:
    """An engine whose model is ``next_token``."""
    runner = SimulatedRunner(block_tokens)
    engine = Engine(
        SimulatedBackend(runner, blocks + 1),
        EngineLimits(context_tokens=context_tokens, vocab_size=VOCABULARY, waiting=waiting),
        SchedulerLimits(batch_tokens, running, block_tokens, prefix_cache, frozenset({EOS}), "base", chunk_tokens),
        BlockPool(blocks),
    )
    return engine, runner


def adapter(digest: str, front: FrontRows | FrontKeys | None = None) -> BoundAdapter:
    """An adapter that is only a digest, and rows in front."""
    return BoundAdapter(digest, (), 0, front=front)


def request(
    name: str,
    prompt: Seq[int],
    max_tokens: int = 4,
    *,
    tenant: str = "default",
    n: int = 1,
    ignore_eos: bool = False,
    stop: tuple[int, ...] = (),
    min_tokens: int = 0,
) -> GenerateRequest:
    """A request of the simulated model."""
    sampling = SamplingParams(
        max_tokens=max_tokens,
        temperature=0,
        seed=0,
        ignore_eos=ignore_eos,
        min_tokens=min_tokens,
        stop_token_ids=stop,
    )
    return GenerateRequest(name, tenant, tuple(prompt), sampling, deadline_s=60, n=n)


def expected(tenant: str, digest: str, prompt: Seq[int], max_tokens: int) -> tuple[list[int], str]:
    """Tokens and finish reason of a request run alone."""
    tokens = list(prompt)
    for _ in range(max_tokens):
        token = next_token(tenant, digest, tokens)
        if token == EOS:
            return tokens[len(prompt) :], "stop"
        tokens.append(token)
    return tokens[len(prompt) :], "length"
