"""Applies a request's bias, penalties and withheld tokens to logits. Other logits stay finite."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.sequence import Sequence

MOST = 1e30
"""Bound of a bias, a penalty and an adjusted logit: sums and products of a few of these stay within float32."""
LEAST_FACTOR = 1e-30


def adjusted(logits: Tensor, sequences: Seq[Sequence]) -> Tensor:
    """``logits`` [rows, vocabulary] float32 after bias, penalties and ``min_tokens``, in this order.

    Withheld tokens are -inf; all other values are finite if those of ``logits`` are.
    """
    biased = [row for row, s in enumerate(sequences) if s.bias is not None]
    penalised = [row for row, s in enumerate(sequences) if s.seen is not None and len(s.seen.tokens)]
    withholding = [row for row, s in enumerate(sequences) if s.withholding]
    if not biased and not penalised and not withholding:
        return logits
    logits = logits.clone()
    if biased:
        _bias(logits, biased, [sequences[row] for row in biased])
    if penalised:
        _penalise(logits, penalised, [sequences[row] for row in penalised])
    if withholding:
        withheld = [np.array(sequences[row].withheld) for row in withholding]
        logits[_at(withholding, withheld, logits)] = -torch.inf
    return logits


def _bias(logits: Tensor, rows: Seq[int], sequences: Seq[Sequence]) -> None:
    biases = [s.bias for s in sequences if s.bias is not None]
    at = _at(rows, [tokens for tokens, _ in biases], logits)
    change = _float32(np.concatenate([values for _, values in biases]), logits)
    logits[at] = (logits[at] + change).clamp_(-MOST, MOST)


def _penalise(logits: Tensor, rows: Seq[int], sequences: Seq[Sequence]) -> None:
    """Repetition (Keskar et al. 2019) over prompt and answer; presence and frequency over the answer."""
    seen = [s.seen for s in sequences if s.seen is not None]
    wants = [s.sampling for s in sequences]
    sizes = [len(one.tokens) for one in seen]
    generated = np.concatenate([one.generated for one in seen])
    presence = np.repeat([w.presence_penalty for w in wants], sizes)
    frequency = np.repeat([w.frequency_penalty for w in wants], sizes)
    factor = _float32(np.repeat([max(w.repetition_penalty, LEAST_FACTOR) for w in wants], sizes), logits)
    subtract = _float32((generated > 0) * presence + generated * frequency, logits)
    at = _at(rows, [one.tokens for one in seen], logits)
    old = logits[at]
    logits[at] = (torch.where(old > 0, old / factor, old * factor) - subtract).clamp_(-MOST, MOST)


def _at(rows: Seq[int], tokens: Seq[NDArray[np.int64]], logits: Tensor) -> tuple[Tensor, Tensor]:
    """Index of each row's ``tokens``."""
    where = np.repeat(np.array(rows, np.int64), [len(some) for some in tokens])
    return torch.from_numpy(where).to(logits.device), torch.from_numpy(np.concatenate(tokens)).to(logits.device)


def _float32(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(np.clip(values, -MOST, MOST).astype(np.float32)).to(like.device)
