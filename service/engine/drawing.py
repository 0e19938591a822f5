"""Draws one token per row from its probabilities: top-k, then top-p of the rest, then min-p, then one draw.

Probabilities become integer multiples of 2⁻⁵² in float64, whose sums are exact in any order. So a row gives the same
token alone, in any batch and on any device, and the likeliest tokens are found without sorting the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.values import SamplingParams

UNIT = 2.0**52
_DIGITS = ((20, 10), (10, 10), (0, 10))
"""Shift and width of the digits of a probability's bits; float32 numbers up to 1 have 30 bits."""


def draw(probs: Tensor, wants: Seq[SamplingParams], uniforms: Seq[float]) -> list[int]:
    """One token per row of ``probs`` [rows, vocabulary] float32; ``uniforms`` are numbers in [0, 1)."""
    if probs.device.type == "cpu":
        return [_draw_row(row, w, u) for row, w, u in zip(probs.numpy(), wants, uniforms, strict=True)]
    return draw_sorted(probs, wants, uniforms)


def _draw_row(probs: NDArray[np.float32], wants: SamplingParams, uniform: float) -> int:
    """In time linear in the vocabulary."""
    mass = np.floor(probs.astype(np.float64) * UNIT)
    ids: NDArray[np.intp] | None = None
    if 0 < wants.top_k < len(probs):
        ids = likeliest(probs, np.ones_like(mass), wants.top_k)
        probs, mass = probs[ids], mass[ids]
    if wants.top_p < 1:
        kept = likeliest(probs, mass, max(1.0, wants.top_p * mass.sum()))
        ids = kept if ids is None else ids[kept]
        probs, mass = probs[kept], mass[kept]
    if wants.min_p > 0:
        mass = np.where(probs >= probs.max() * np.float32(wants.min_p), mass, 0.0)
    cumulated = torch.from_numpy(mass).cumsum(0).numpy()  # torch sums in blocks
    at = min(np.floor(uniform * cumulated[-1]), cumulated[-1] - 1)
    drawn = int(np.searchsorted(cumulated, at, side="right"))
    return drawn if ids is None else int(ids[drawn])


def likeliest(probs: NDArray[np.float32], weights: NDArray[np.float64], enough: float) -> NDArray[np.intp]:
    """Ascending indices of the fewest likeliest tokens whose weights sum to at least ``enough``.

    Of equal ones the first are taken. ``weights`` are whole numbers, equal for equal probabilities, with a sum of at
    least ``enough``. The least kept probability is found digit by digit, with a histogram of the weights for each.
    """
    bits = probs.view(np.int32)
    left, left_weights, least = bits, weights, 0
    for shift, width in _DIGITS:
        digits = (left >> shift) & ((1 << width) - 1)
        sums = np.bincount(digits, left_weights, minlength=1 << width)
        down = sums[::-1].cumsum()
        at = int(np.searchsorted(down, enough))
        enough -= float(down[at - 1]) if at else 0.0
        digit = (1 << width) - 1 - at
        least |= digit << shift
        inside = digits == digit
        left, left_weights = left[inside], left_weights[inside]
    equals = np.flatnonzero(bits == least)
    keep = bits > least
    keep[equals[: int(-(-enough // left_weights[0]))]] = True
    return np.flatnonzero(keep)


def draw_sorted(probs: Tensor, wants: Seq[SamplingParams], uniforms: Seq[float]) -> list[int]:
    """The same tokens for all rows at once, by sorting: for devices where sorting is fast and Python is slow."""
    size = probs.shape[-1]
    mass = (probs.double() * UNIT).floor()
    ordered, ids = probs.sort(dim=-1, descending=True, stable=True)
    masses = mass.gather(-1, ids)
    top_k = _column([min(w.top_k or size, size) for w in wants], mass)
    masses = masses.masked_fill(torch.arange(size, device=probs.device) >= top_k, 0)
    top_p = _column([w.top_p for w in wants], mass)
    enough = (top_p * masses.sum(-1, keepdim=True)).clamp_min(1)
    masses = masses.masked_fill((masses.cumsum(-1) - masses >= enough) & (top_p < 1), 0)
    floor = ordered[:, :1] * _column([w.min_p for w in wants], probs)
    masses = masses.masked_fill(ordered < floor, 0)
    cumulated = torch.zeros_like(mass).scatter(-1, ids, masses).cumsum(-1)
    total = cumulated[:, -1:]
    at = torch.minimum((_column(uniforms, mass) * total).floor(), total - 1)
    drawn: list[int] = torch.searchsorted(cumulated, at, right=True)[:, 0].tolist()
    return drawn


def _column(values: Seq[float], like: Tensor) -> Tensor:
    """[rows, 1] in the type of ``like``."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
