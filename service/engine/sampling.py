"""Samples token ids from logits; each row's token depends only on its own logits, seed and position."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Seq

import torch
from torch import Tensor

from service.engine.adjusting import adjusted
from service.engine.drawing import draw
from service.engine.plan import Outcome, Sampled
from service.engine.sequence import Sequence
from service.errors import InternalError, NonFiniteLogits
from service.values import Failure, TokenLogprob

logger = logging.getLogger(__name__)

_MASK = (1 << 64) - 1


def sample(logits: Tensor, sequences: Seq[Sequence]) -> list[Outcome]:
    """One token, or a failure, for each row of ``logits`` [rows, vocabulary] in any dtype."""
    logits = logits.float()
    # The maximum of a row is NaN if any of its logits is.
    sound = logits.amax(-1).isfinite().tolist()
    if all(sound):
        return _sample_or_fail(logits, sequences)
    rows = [row for row, good in enumerate(sound) if good]
    found: list[Outcome] = [not_finite(sequence) for sequence in sequences]
    if rows:
        drawn = _sample_or_fail(logits[torch.tensor(rows, device=logits.device)], [sequences[row] for row in rows])
        for row, outcome in zip(rows, drawn, strict=True):
            found[row] = outcome
    return found


def not_finite(sequence: Sequence) -> Failure:
    """The failure of a row without a token, caused by the weights."""
    whose = "base" if sequence.adapter is None else "adapter"
    return NonFiniteLogits(f"The {whose}'s weights gave no finite logit for this request.").failure()


def _sample_or_fail(logits: Tensor, sequences: Seq[Sequence]) -> list[Outcome]:
    """All rows at once. If that raises, one by one, so that only rows that raise alone fail."""
    try:
        return list(_sample(logits, sequences))
    except Exception:
        if len(sequences) == 1:
            logger.exception("sampling failed", extra={"request_id": sequences[0].id.request_id})
            return [InternalError("Sampling failed; the log has the trace.").failure()]
        return [_sample_or_fail(logits[row : row + 1], [one])[0] for row, one in enumerate(sequences)]


def _sample(logits: Tensor, sequences: Seq[Sequence]) -> list[Sampled]:
    logprobs = _logprobs(logits, sequences)
    wanted = adjusted(logits, sequences)
    tokens = [0] * len(sequences)
    for choose, greedy in ((_choose_likeliest, True), (_draw, False)):
        rows = [row for row, sequence in enumerate(sequences) if sequence.greedy is greedy]
        if rows:
            theirs = wanted if len(rows) == len(sequences) else wanted[torch.tensor(rows, device=wanted.device)]
            for row, token in zip(rows, choose(theirs, [sequences[row] for row in rows]), strict=True):
                tokens[row] = token
    return [Sampled(token, _chosen(logprobs[row], token)) for row, token in enumerate(tokens)]


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends only on the seed and the position (SplitMix64, Steele et al. 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + (position + 1) * 0xD1B54A32D192ED03) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = ((z ^ (z >> shift)) * factor) & _MASK
    z ^= z >> 31
    return (z >> 11) / (1 << 53)


def _choose_likeliest(logits: Tensor, _: Seq[Sequence]) -> list[int]:
    if logits.device.type == "cpu":  # faster than torch for one row, and also the first of equals
        return [int(row.argmax()) for row in logits.numpy()]
    found: list[int] = logits.argmax(-1).tolist()
    return found


def _draw(logits: Tensor, sequences: Seq[Sequence]) -> list[int]:
    temperature = torch.tensor([s.sampling.temperature for s in sequences], device=logits.device)[:, None]
    # The maximum is subtracted before the division, so that a small temperature gives no infinity.
    probs = torch.softmax((logits - logits.amax(-1, keepdim=True)).div_(temperature), -1)
    return draw(probs, [s.sampling for s in sequences], [uniform(s.seed, s.generated) for s in sequences])


def _logprobs(logits: Tensor, sequences: Seq[Sequence]) -> list[tuple[Tensor, tuple[tuple[int, float], ...]] | None]:
    """For rows that request them: the model's log-probabilities before sampling options, and the likeliest few."""
    found: list[tuple[Tensor, tuple[tuple[int, float], ...]] | None] = [None] * len(sequences)
    for row, sequence in enumerate(sequences):
        wanted = sequence.sampling.logprobs
        if wanted is not None:
            own = torch.log_softmax(logits[row], -1)
            best = own.topk(min(wanted, len(own)))
            found[row] = (own, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
    return found


def _chosen(told: tuple[Tensor, tuple[tuple[int, float], ...]] | None, token: int) -> TokenLogprob | None:
    return None if told is None else TokenLogprob(float(told[0][token]), told[1])
