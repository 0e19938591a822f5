"""A plan in, sampled tokens out: one forward pass of the base with the adapters of the step."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from service.engine.attention import KVCache, forward_pass
from service.engine.batch import Batch, build_batch
from service.engine.linear import StepState
from service.engine.sampling import sample
from service.engine.scheduler import Plan, Sampled


class Runner(Protocol):
    """The seam between deciding and computing; tests put a model without weights here."""

    def run(self, plan: Plan) -> list[Sampled]:
        """Compute a non-empty plan; one result for each chunk that samples, in chunk order."""


class ModelRunner:
    """Runs the transformers model whose projections and attention are ours."""

    def __init__(self, model: PreTrainedModel, state: StepState, cache: KVCache, device: torch.device) -> None:
        self.model = model
        self.state = state
        self.cache = cache
        self.device = device

    def run(self, plan: Plan) -> list[Sampled]:
        batch = build_batch(plan, self.cache.block_tokens, self.device)
        logits = self.logits(batch)
        return sample(logits, [chunk.sequence for chunk in plan.chunks if chunk.samples])

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Tensor:
        """[samples, vocabulary] of the rows that give a next token."""
        self.state.segments = batch.segments
        with forward_pass(batch, self.cache):
            out = self.model(
                input_ids=batch.tokens,
                position_ids=batch.positions,
                use_cache=False,
                logits_to_keep=batch.sample_rows,
            )
        logits: Tensor = out.logits[0]
        return logits
