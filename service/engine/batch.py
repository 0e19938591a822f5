"""A plan as tensors: one ragged row of tokens, and the places of each row's keys and values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import torch
from torch import Tensor

from service.engine.adapter import BoundAdapter
from service.engine.fronts import Fronts, GivenKeys, GivenRows, slots_of
from service.engine.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Adjacent rows ``start:stop`` of one adapter. Base rows have no segment."""

    start: int
    stop: int
    adapter: BoundAdapter


@dataclass(frozen=True, slots=True, eq=False)
class Prefill:
    """A prompt chunk: rows ``start:stop`` attend to ``context`` tokens, of which the last are the chunk's own."""

    start: int
    stop: int
    context: int
    blocks: Tensor
    """[ceil(context / block_tokens)] int64"""


@dataclass(frozen=True, slots=True, eq=False)
class Decode:
    """All rows of sequences with one row in the step, padded to the longest context."""

    rows: Tensor
    """[n] int64: rows of the batch"""
    blocks: Tensor
    """[n, most blocks] int64; padding repeats the sequence's last block and is masked"""
    context: Tensor
    """[n] int64: tokens to attend to, including the row's own"""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The input of one forward pass."""

    tokens: Tensor
    """[1, rows] int64"""
    positions: Tensor
    """[1, rows] int64"""
    slots: Tensor
    """[rows] int64: block · block_tokens + offset, the place of each row's key and value"""
    begun: Tensor
    """Blocks that get their first rows in this step and are not filled: they are set to 0, because masked keys and
    values that are not finite would still make a sum not finite"""
    segments: tuple[Segment, ...]
    sampled: tuple[Segment, ...]
    """The segments among ``sample_rows``"""
    given_rows: tuple[GivenRows, ...]
    given_keys: tuple[GivenKeys, ...]
    prefills: tuple[Prefill, ...]
    decode: Decode | None
    sample_rows: Tensor
    """[samples] int64: rows whose logits are computed, ascending"""
    masks: dict[tuple[object, ...], Tensor] = field(default_factory=dict)
    """Attention masks of this step, created by the first layer that needs them."""


def build_batch(plan: Plan, block_tokens: int, device: torch.device, wanted: Seq[int] | None = None) -> Batch:
    """The tensors of a non-empty plan.

    ``wanted`` are the rows whose logits are computed, ascending; default: rows that give a next token.
    """
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    fronts = Fronts(block_tokens, device)
    prefills: list[Prefill] = []
    single: list[tuple[int, int, list[int]]] = []
    sample_rows: list[int] = []
    begun: list[int] = []
    for chunk in plan.chunks:
        sequence, start, length = chunk
        row, stop = len(tokens), start + length
        tokens += sequence.tokens_at(start, stop)
        positions += range(start, stop)
        slots += slots_of(sequence.blocks, range(start, stop), block_tokens)
        blocks = sequence.blocks[: -(-stop // block_tokens)]
        written = fronts.take(chunk, row) if sequence.front else start
        if stop % block_tokens and written <= stop - stop % block_tokens:
            begun.append(blocks[-1])
        if length == 1:
            single.append((row, stop, blocks))
        else:
            prefills.append(Prefill(row, row + length, stop, torch.tensor(blocks, device=device)))
        if chunk.samples:
            sample_rows.append(row + length - 1)
    if wanted is not None:
        sample_rows = list(wanted)
    segments = _segments(plan)
    return Batch(
        tokens=torch.tensor([tokens], device=device),
        positions=torch.tensor([positions], device=device),
        slots=torch.tensor(slots, device=device),
        begun=torch.tensor(begun, dtype=torch.int64, device=device),
        segments=segments,
        sampled=_among(sample_rows, segments),
        given_rows=tuple(fronts.rows),
        given_keys=tuple(fronts.keys),
        prefills=tuple(prefills),
        decode=_decode(single, device),
        sample_rows=torch.tensor(sample_rows, dtype=torch.int64, device=device),
    )


def _segments(plan: Plan) -> tuple[Segment, ...]:
    """Joins adjacent chunks of one adapter."""
    segments: list[Segment] = []
    row = 0
    for chunk in plan.chunks:
        start, row, adapter = row, row + chunk.length, chunk.sequence.adapter
        if adapter is None:
            continue
        if segments and segments[-1].adapter.digest == adapter.digest:
            segments[-1] = Segment(segments[-1].start, row, segments[-1].adapter)
        else:
            segments.append(Segment(start, row, adapter))
    return tuple(segments)


def _among(rows: Seq[int], segments: Seq[Segment]) -> tuple[Segment, ...]:
    """The segments as spans of the ascending ``rows``."""
    spans = ((bisect_left(rows, one.start), bisect_left(rows, one.stop), one.adapter) for one in segments)
    return tuple(Segment(start, stop, adapter) for start, stop, adapter in spans if start < stop)


def _decode(single: list[tuple[int, int, list[int]]], device: torch.device) -> Decode | None:
    if not single:
        return None
    width = max(len(blocks) for _, _, blocks in single)
    return Decode(
        rows=torch.tensor([row for row, _, _ in single], device=device),
        blocks=torch.tensor([blocks + blocks[-1:] * (width - len(blocks)) for _, _, blocks in single], device=device),
        context=torch.tensor([context for _, context, _ in single], device=device),
    )
