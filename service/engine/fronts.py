"""Rows that adapters add in front of the prompts of one step: as embeddings, or as keys and values."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from torch import Tensor

from service.engine.adapter import FrontKeys, FrontRows
from service.engine.plan import Chunk


@dataclass(frozen=True, slots=True, eq=False)
class GivenRows:
    """Rows ``start:stop`` of the batch have no token; their embeddings come from an adapter."""

    start: int
    stop: int
    embeddings: Tensor
    """[stop - start, hidden]"""


@dataclass(frozen=True, slots=True, eq=False)
class GivenKeys:
    """Keys and values of an adapter, which are written to ``slots`` before this step's rows read them."""

    slots: Tensor
    """[rows] int64"""
    keys: tuple[Tensor, ...]
    """By layer: [rows, key heads, dim]"""
    values: tuple[Tensor, ...]


class Fronts:
    """Collects the front rows of a step, chunk by chunk."""

    def __init__(self, block_tokens: int, device: torch.device) -> None:
        self.rows: list[GivenRows] = []
        self.keys: list[GivenKeys] = []
        self._block_tokens = block_tokens
        self._device = device

    def take(self, chunk: Chunk, row: int) -> int:
        """Add the front rows of ``chunk``, which begins at ``row``; returns the first position that is written."""
        sequence, start, length = chunk
        front = sequence.adapter.front if sequence.adapter is not None else None
        if front is None or start > front.rows:
            return start
        if isinstance(front, FrontRows):
            stop = min(front.rows, start + length)
            if start < stop:
                self.rows.append(GivenRows(row, row + stop - start, front.embeddings[start:stop]))
            return start
        return self._take_keys(chunk, front)

    def _take_keys(self, chunk: Chunk, front: FrontKeys) -> int:
        """Before the first row of the prompt, add all keys that are not in the prefix cache."""
        sequence, start, _ = chunk
        assert start == front.rows
        first = sequence.published * self._block_tokens
        if first < start:
            missing = slice(first, start)
            slots = slots_of(sequence.blocks, range(first, start), self._block_tokens)
            keys, values = (tuple(one[missing] for one in layers) for layers in (front.keys, front.values))
            self.keys.append(GivenKeys(torch.tensor(slots, device=self._device), keys, values))
        return first


def slots_of(blocks: Seq[int], positions: range, block_tokens: int) -> list[int]:
    """The places of the keys and values of ``positions``: block · block_tokens + offset."""
    return [blocks[at // block_tokens] * block_tokens + at % block_tokens for at in positions]
