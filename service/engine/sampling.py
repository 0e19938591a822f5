"""Logits to token ids, vectorised over rows; each row's draw depends on its own seed and position alone."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import torch
from torch import Tensor

from service.engine.scheduler import Sampled
from service.engine.sequence import Sequence
from service.values import SamplingParams, TokenLogprob

_MASK = (1 << 64) - 1


def sample(logits: Tensor, sequences: Seq[Sequence]) -> list[Sampled]:
    """One token a row of ``logits`` [rows, vocabulary] in any dtype."""
    logits = logits.float()
    logprobs = _logprobs(logits, sequences)
    adjusted = _withhold(_penalise(_bias(logits, sequences), sequences), sequences)
    tokens = adjusted.argmax(-1)
    drawn = [row for row, s in enumerate(sequences) if s.sampling.temperature > 0]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        tokens[rows] = _draw(adjusted[rows], [sequences[row] for row in drawn])
    ids = tokens.tolist()
    return [Sampled(token, _chosen(logprobs[row], token)) for row, token in enumerate(ids)]


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on the seed and the position only (SplitMix64, Steele et al. 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + (position + 1) * 0xD1B54A32D192ED03) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = ((z ^ (z >> shift)) * factor) & _MASK
    z ^= z >> 31
    return (z >> 11) / (1 << 53)


# -- drawing ------------------------------------------------------------------------------------------------


def _draw(logits: Tensor, sequences: Seq[Sequence]) -> Tensor:
    """[rows] ids by inverse transform: the first token whose cumulated probability passes the row's number."""
    wants = [s.sampling for s in sequences]
    column = _column([w.temperature for w in wants], logits)
    probs = torch.softmax(logits / column, -1)
    cut = [row for row, w in enumerate(wants) if w.top_k > 0 or w.top_p < 1]
    if cut:
        rows = torch.tensor(cut, device=probs.device)
        probs[rows] = _keep_likeliest(probs[rows], [wants[row] for row in cut])
    if any(w.min_p > 0 for w in wants):
        floor = probs.amax(-1, keepdim=True) * _column([w.min_p for w in wants], logits)
        probs = probs.masked_fill(probs < floor, 0)
    # float64: in float32 the sum of 50,000 small terms loses the rare tokens.
    cumulated = probs.double().cumsum(-1)
    at = _column([uniform(s.seed, s.generated) for s in sequences], cumulated) * cumulated[:, -1:]
    drawn = torch.searchsorted(cumulated, at, right=True)
    # Rounding may leave the target at the very end: stay on the last token that has probability.
    last = (cumulated < cumulated[:, -1:]).sum(-1, keepdim=True)
    return torch.minimum(drawn, last)[:, 0]


def _keep_likeliest(probs: Tensor, wants: Seq[SamplingParams]) -> Tensor:
    """Probabilities with those beyond top-k, then beyond top-p of what is left, set to zero."""
    size = probs.shape[-1]
    ordered, ids = probs.sort(dim=-1, descending=True, stable=True)
    top_k = _column([min(w.top_k or size, size) for w in wants], probs)
    ordered = ordered.masked_fill(torch.arange(size, device=probs.device) >= top_k, 0)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    before = ordered.cumsum(-1) - ordered
    top_p = _column([w.top_p for w in wants], probs)
    # The likeliest token always stays; top_p of 1 must not drop the tail by rounding.
    ordered = ordered.masked_fill((before >= top_p) & (top_p < 1), 0)
    return torch.zeros_like(probs).scatter(-1, ids, ordered)


# -- changing logits ----------------------------------------------------------------------------------------


def _bias(logits: Tensor, sequences: Seq[Sequence]) -> Tensor:
    entries = [(row, token, value) for row, s in enumerate(sequences) for token, value in s.sampling.logit_bias]
    if not entries:
        return logits
    rows, tokens, values = zip(*entries, strict=True)
    change = torch.tensor(values, device=logits.device)
    return logits.index_put(_at(rows, tokens, logits), change, accumulate=True)


def _penalise(logits: Tensor, sequences: Seq[Sequence]) -> Tensor:
    """Repetition (Keskar et al. 2019) over prompt and answer; presence and frequency over the answer."""
    rows: list[int] = []
    tokens: list[int] = []
    factors: list[float] = []
    subtract: list[float] = []
    for row, sequence in enumerate(sequences):
        if not sequence.penalised:
            continue
        wants, counts = sequence.sampling, sequence.generated_counts
        seen = set(sequence.tokens) if wants.repetition_penalty != 1 else counts.keys()
        for token in seen:
            count = counts.get(token, 0)
            rows.append(row)
            tokens.append(token)
            factors.append(wants.repetition_penalty)
            subtract.append((count > 0) * wants.presence_penalty + count * wants.frequency_penalty)
    if not rows:
        return logits
    at = _at(rows, tokens, logits)
    old = logits[at]
    factor = torch.tensor(factors, device=logits.device)
    new = torch.where(old > 0, old / factor, old * factor) - torch.tensor(subtract, device=logits.device)
    return logits.index_put(at, new)


def _withhold(logits: Tensor, sequences: Seq[Sequence]) -> Tensor:
    """End-of-sequence and stop tokens cannot be drawn before ``min_tokens``."""
    entries = [(row, token) for row, s in enumerate(sequences) if s.withholding for token in s.withheld]
    if not entries:
        return logits
    rows, tokens = zip(*entries, strict=True)
    return logits.index_put(_at(rows, tokens, logits), logits.new_tensor(-torch.inf))


def _at(rows: Seq[int], tokens: Seq[int], logits: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tensor(rows, device=logits.device), torch.tensor(tokens, device=logits.device)


def _column(values: Seq[float], like: Tensor) -> Tensor:
    """[rows, 1] in the type of ``like``."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


# -- telling ------------------------------------------------------------------------------------------------


def _logprobs(logits: Tensor, sequences: Seq[Sequence]) -> list[tuple[Tensor, tuple[tuple[int, float], ...]] | None]:
    """For rows that ask: the model's own log-probabilities, and the likeliest few."""
    found: list[tuple[Tensor, tuple[tuple[int, float], ...]] | None] = [None] * len(sequences)
    for row, sequence in enumerate(sequences):
        wanted = sequence.sampling.logprobs
        if wanted is not None:
            own = torch.log_softmax(logits[row], -1)
            best = own.topk(wanted)
            found[row] = (own, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
    return found


def _chosen(told: tuple[Tensor, tuple[tuple[int, float], ...]] | None, token: int) -> TokenLogprob | None:
    return None if told is None else TokenLogprob(float(told[0][token]), told[1])
