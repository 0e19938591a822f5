"""Adapters in the native step's form: contiguous memory, in the order in which a step reads it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.adapter import Addition, BoundAdapter
from service.engine.kernels.llama import SITES, LlamaShape, projection
from service.engine.kernels.native import AdapterPart, AdapterSite, Library, aligned
from service.engine.kinds.lora import LoraDelta
from service.errors import AdapterIncompatible


@dataclass(frozen=True, slots=True, eq=False)
class NativeAdapter(BoundAdapter):
    """An adapter with the address of its ``sites``, which the step reads."""

    sites: int = 0
    """Address of AdapterSite[layers · 4]."""
    low_elements: int = 0
    """Greatest sum of ranks at one site."""
    memory: tuple[object, ...] = ()
    """Keeps the memory that ``sites`` points into."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One projection's change, and its offsets in the adapter's memory, in elements; -1: absent."""

    delta: LoraDelta
    out_at: int
    out: int
    rank_at: int
    rank: int


def site_index(shape: LlamaShape) -> dict[str, int]:
    """Module name → site number, for every projection that adapters can change."""
    names = [projection(layer, name) for layer in range(shape.layers) for names in SITES for name in names]
    return {name: number for number, name in enumerate(names)}


@dataclass(frozen=True, slots=True, eq=False)
class AdapterPacker:
    """Copies adapters into the native step's form."""

    library: Library
    shape: LlamaShape
    index: Mapping[str, int]
    """Module name → site, see ``site_index``."""

    def pack(self, adapter: BoundAdapter) -> NativeAdapter:
        """Raises ``AdapterIncompatible`` if the adapter does more than add low-rank products and biases."""
        if adapter.around or adapter.front is not None:
            raise AdapterIncompatible(
                "the adapter scales or replaces products or brings rows in front of the prompt, which the native "
                "backend does not compute"
            )
        filling = _Filling(self.library, self.shape)
        sites = (AdapterSite * (self.shape.layers * len(SITES)))()
        plans = []
        for layer in range(self.shape.layers):
            for site, names in enumerate(SITES):
                adds = [adapter.adds[self.index[projection(layer, name)]] for name in names]
                plans.append(_pieces(adds, self.shape.site(site)[1], filling))
                filling.plan(site, plans[-1])
        memory = filling.allocate()
        for target, (number, pieces) in zip(sites, enumerate(plans), strict=True):
            filling.fill(target, number % len(SITES), pieces)
        return NativeAdapter(
            adapter.digest,
            (),
            memory.nbytes,
            sites=ctypes.addressof(sites),
            low_elements=max(site.ranks for site in sites),
            memory=(sites, memory),
        )


def _pieces(adds: Sequence[Addition | None], outs: Sequence[int], filling: _Filling) -> list[_Piece]:
    pieces, rank_at, out_at = [], 0, 0
    for addition, out in zip(adds, outs, strict=True):
        if addition is not None:
            if not isinstance(addition, LoraDelta):
                raise AdapterIncompatible(f"the native backend does not compute {type(addition).__name__}")
            rank = 0 if addition.a_t is None else addition.a_t.shape[1]
            pieces.append(_Piece(addition, out_at, out, rank_at, rank))
            rank_at += filling.padded_rank(rank)
        out_at += out
    return pieces


class _Filling:
    """Two passes over an adapter: ``plan`` computes the size of its memory, ``fill`` writes it."""

    def __init__(self, library: Library, shape: LlamaShape) -> None:
        self._library = library
        self._shape = shape
        self._per_word = 4 // shape.dtype.itemsize
        self._size = 0
        self._at = 0

    def padded_rank(self, rank: int) -> int:
        return -(-rank // self._per_word) * self._per_word

    def plan(self, site: int, pieces: Sequence[_Piece]) -> None:
        """Count the memory of one site."""
        row = self._row_bytes(site)
        for piece in pieces:
            self._size += self.padded_rank(piece.rank) * row + self._b_bytes(piece)
            self._size += 4 * piece.out if piece.delta.bias is not None else 0

    def allocate(self) -> NDArray[np.uint8]:
        memory = aligned(self._size)
        self._at = memory.ctypes.data
        return memory

    def fill(self, target: AdapterSite, site: int, pieces: Sequence[_Piece]) -> None:
        """Write one site's weights after those of the site before: all A, then each projection's B and bias."""
        row = self._row_bytes(site)
        target.a, target.parts = self._at, len(pieces)
        target.ranks = sum(self.padded_rank(piece.rank) for piece in pieces)
        for piece in pieces:
            if piece.delta.a_t is not None:
                self._library.pack_a(self._cast(piece.delta.a_t), self._at)
            self._at += self.padded_rank(piece.rank) * row
        for part, piece in zip(target.part, pieces, strict=False):
            self._fill_part(part, piece)

    def _fill_part(self, part: AdapterPart, piece: _Piece) -> None:
        part.out_at, part.out, part.rank_at = piece.out_at, piece.out, piece.rank_at
        part.rank_words = self.padded_rank(piece.rank) // self._per_word
        if piece.delta.b_t is not None:
            self._library.pack_b(self._cast(piece.delta.b_t), self._at)
            part.b = self._at
            self._at += self._b_bytes(piece)
        if piece.delta.bias is not None:
            bias = piece.delta.bias.float().contiguous()
            ctypes.memmove(self._at, bias.data_ptr(), bias.nbytes)
            part.bias = self._at
            self._at += bias.nbytes

    def _row_bytes(self, site: int) -> int:
        return self._library.adapter_row(self._shape.site(site)[0], self._shape.dtype) * self._shape.dtype.itemsize

    def _b_bytes(self, piece: _Piece) -> int:
        return self.padded_rank(piece.rank) * piece.out * self._shape.dtype.itemsize

    def _cast(self, weight: Tensor) -> Tensor:
        return weight.to("cpu", self._shape.dtype).contiguous()


def delta_dtype(shape: LlamaShape) -> torch.dtype:
    """The type of the adapters' weights: the base's. With bfloat16 a step reads half the bytes of float32."""
    return shape.dtype
