"""A plan in, sampled tokens out: one forward pass of the base with the adapters of the step."""

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
    """The seam between deciding and computing; tests put a model without weights here."""

    def run(self, plan: Plan) -> list[Outcome]:
        """Compute a non-empty plan; one result for each chunk that samples, in chunk order.

        Whatever a plan's sequences and adapters did, plans of others compute the same afterwards.
        """


class LogitsRunner(Runner, Protocol):
    """A runner over a real base, whose logits can be looked at."""

    block_tokens: int
    dtype: torch.dtype

    def logits(self, plan: Plan, rows: Seq[int] | None = None) -> Tensor:
        """[rows, vocabulary] of the given rows of the plan, else of those that give a next token."""


class ModelRunner:
    """Runs the transformers model whose projections and attention are ours."""

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
