"""Runs a plan: one forward pass of the base with the step's adapters, then sampling."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from service.engine.attention import KVCache, forward_pass
from service.engine.batch import build_batch
from service.engine.mixed import StepState
from service.engine.plan import Outcome, Plan
from service.engine.sampling import sample


class Runner(Protocol):
    """The interface between scheduling and computing; tests use a model without weights."""

    def run(self, plan: Plan) -> list[Outcome]:
        """Compute a non-empty plan; returns one result for each chunk that samples, in chunk order.

        The sequences and adapters of a plan must not affect the results of later plans of others.
        """


class LogitsRunner(Runner, Protocol):
    """A runner over a real base, with access to logits."""

    block_tokens: int
    dtype: torch.dtype

    def logits(self, plan: Plan, rows: Seq[int] | None = None) -> Tensor:
        """[rows, vocabulary] of the given rows of the plan, else of those that give a next token."""


class ModelRunner:
    """Runs the transformers model with replaced projections and attention."""

    def __init__(self, model: PreTrainedModel, state: StepState, cache: KVCache, device: torch.device) -> None:
        self.model = model
        self.state = state
        self.cache = cache
        self.device = device
        self.block_tokens = cache.block_tokens
        self.dtype = cache.keys[0].dtype

    def run(self, plan: Plan) -> list[Outcome]:
        return sample(self.logits(plan), [chunk.sequence for chunk in plan.chunks if chunk.samples])

    @torch.inference_mode()
    def logits(self, plan: Plan, rows: Seq[int] | None = None) -> Tensor:
        """[rows, vocabulary] of the given rows of the plan, else of those that give a next token."""
        batch = build_batch(plan, self.block_tokens, self.device, rows)
        try:
            self.state.begin(batch)
            with forward_pass(batch, self.cache):
                out = self.model(
                    input_ids=batch.tokens,
                    position_ids=batch.positions,
                    use_cache=False,
                    logits_to_keep=batch.sample_rows,
                )
        finally:
            self.state.end()
        logits: Tensor = out.logits[0]
        return logits
