"""Proof at start that this base computes on our path what it computes on its own, and leaks nothing."""

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
"""Lengths of the two trial prompts: neither a multiple of a block, both over one."""

OWN_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.4, torch.float16: 0.03}
"""Largest difference to the model's own forward, in standard deviations of its logits.

In bfloat16 that forward is itself 0.2 from its float32 self on SmolLM2, further than the native backend (0.07),
and the two round at different places. A leak between sequences is a difference of whole deviations.
"""


def trial_prompts(vocab_size: int) -> list[list[int]]:
    """Fixed pseudo-random tokens."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(vocab_size, (n,), generator=draw).tolist() for n in PROMPT_TOKENS]


def own_logits(model: PreTrainedModel, prompts: Seq[Seq[int]], device: torch.device) -> list[Tensor]:
    """Each prompt's last logits [vocabulary] by the untouched model, for ``check_base`` to compare with."""
    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([prompt], device=device), use_cache=False).logits[0, -1].float()
            for prompt in prompts
        ]


def check_base(runner: LogitsRunner, prompts: Seq[Seq[int]], own: Seq[Tensor], name: str) -> None:
    """Raise ``BaseUnavailable`` unless two prompts, packed together and in chunks, give their own logits.

    Architectures that do not call ``AttentionInterface`` attend across packed sequences: this finds them.
    """
    together = _packed(runner, prompts)
    for mine, theirs in zip(together, own, strict=True):
        scale = theirs.std().clamp_min(1e-6)
        worst = float((mine - theirs).abs().max() / scale)
        allowed = OWN_TOLERANCE[runner.dtype]
        if not worst <= allowed:  # a NaN is refused too
            raise BaseUnavailable(
                f"{name} cannot be served: sequences packed in one batch do not compute what they compute alone "
                f"(difference {worst:.3g} standard deviations, {allowed} allowed), so its attention does not go "
                "through transformers' AttentionInterface as this engine needs; choose another base, for "
                "example of the Llama, Qwen2, Mistral, Gemma or GPT-2 family"
            )


def _packed(runner: LogitsRunner, prompts: Seq[Seq[int]]) -> list[Tensor]:
    """Last logits of all prompts, run as two mixed batches: a chunk of each, then the rest of each."""
    sequences = trial_sequences(prompts, runner.block_tokens)
    cut = [len(sequence.tokens) // 2 for sequence in sequences]
    first = Plan(tuple(Chunk(s, 0, n) for s, n in zip(sequences, cut, strict=True)))
    rest = Plan(tuple(Chunk(s, n, len(s.tokens) - n) for s, n in zip(sequences, cut, strict=True)))
    runner.logits(first)
    return list(runner.logits(rest).float())


def trial_sequences(prompts: Seq[Seq[int]], block_tokens: int) -> list[Sequence]:
    """Greedy sequences of nobody's, in the first blocks of the cache."""
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
