"""Checks at start that the backend computes the same as the base's own model, without leaks between sequences."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import torch
from torch import Tensor
from transformers import PreTrainedModel

from service.engine.plan import Chunk, Plan
from service.engine.runner import LogitsRunner
from service.engine.sequence import Sequence, SequenceId
from service.errors import BaseUnavailable
from service.values import SamplingParams

PROMPT_TOKENS = (23, 40)
"""Lengths of the two trial prompts: both longer than a block, and no multiple of it."""

OWN_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.4, torch.float16: 0.03}
"""Bounds the difference from the model's own forward, in standard deviations of its logits.

In bfloat16 both round, at different places. A leak between sequences is a difference of whole deviations.
"""


def trial_prompts(vocab_size: int) -> list[list[int]]:
    """The trial prompts: fixed pseudo-random tokens."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(vocab_size, (n,), generator=draw).tolist() for n in PROMPT_TOKENS]


def own_logits(model: PreTrainedModel, prompts: Seq[Seq[int]], device: torch.device) -> list[Tensor]:
    """Each prompt's last logits [vocabulary] from the unmodified model, as the reference of ``check_base``."""
    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([prompt], device=device), use_cache=False).logits[0, -1].float()
            for prompt in prompts
        ]


def check_base(runner: LogitsRunner, prompts: Seq[Seq[int]], own: Seq[Tensor], name: str) -> None:
    """Raises ``BaseUnavailable`` unless two prompts, packed together and in chunks, give the logits ``own``.

    This detects architectures that do not call ``AttentionInterface``: they attend across packed sequences.
    """
    together = _packed(runner, prompts)
    for mine, theirs in zip(together, own, strict=True):
        scale = theirs.std().clamp_min(1e-6)
        worst = float((mine - theirs).abs().max() / scale)
        allowed = OWN_TOLERANCE[runner.dtype]
        if not worst <= allowed:  # also refuses NaN
            raise BaseUnavailable(
                f"{name} cannot be served: sequences packed in one batch do not compute what they compute alone "
                f"(difference {worst:.3g} standard deviations, {allowed} allowed), so its attention does not go "
                "through transformers' AttentionInterface as this engine needs; choose another base, for "
                "example of the Llama, Qwen2, Mistral, Gemma or GPT-2 family"
            )


def _packed(runner: LogitsRunner, prompts: Seq[Seq[int]]) -> list[Tensor]:
    """Last logits of all prompts, run as two batches: first a chunk of each, then the rest of each."""
    sequences = trial_sequences(prompts, runner.block_tokens)
    cut = [len(sequence.tokens) // 2 for sequence in sequences]
    first = Plan(tuple(Chunk(s, 0, n) for s, n in zip(sequences, cut, strict=True)))
    rest = Plan(tuple(Chunk(s, n, len(s.tokens) - n) for s, n in zip(sequences, cut, strict=True)))
    runner.logits(first)
    return list(runner.logits(rest).float())


def trial_sequences(prompts: Seq[Seq[int]], block_tokens: int) -> list[Sequence]:
    """Greedy sequences without a tenant, in the first blocks of the cache."""
    sequences, next_block = [], 0
    for number, prompt in enumerate(prompts):
        count = -(-len(prompt) // block_tokens)
        sequences.append(
            Sequence(
                id=SequenceId("self-check", number),
                tenant="",
                adapter=None,
                sampling=SamplingParams(max_tokens=1),
                seed=0,
                tokens=list(prompt),
                prompt_tokens=len(prompt),
                blocks=list(range(next_block, next_block + count)),
            )
        )
        next_block += count
    return sequences
