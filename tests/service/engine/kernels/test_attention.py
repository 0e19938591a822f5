"""Attention in place: what torch computes in float64, whatever the blocks and the chunks."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine.kernels.build import default_cache, library
from service.engine.kernels.levels import Level, supported_levels

LEVELS = supported_levels()
DTYPES = (torch.float32, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-6}
"""Largest difference to float64. In bfloat16 weights and results are each rounded by 2^-9 of values up to 4."""


@dataclass(frozen=True)
class Layout:
    block_tokens: int
    kv_heads: int
    group: int
    dim: int


LAYOUTS = [
    Layout(16, 3, 3, 64),
    Layout(8, 2, 2, 16),
    Layout(32, 1, 4, 80),
    Layout(16, 2, 7, 128),
    Layout(2, 1, 1, 32),
]


class Paged:
    """One sequence of random tokens over scattered blocks, its cache full of NaN where nothing was written."""

    def __init__(self, level: Level, layout: Layout, dtype: torch.dtype, tokens: int) -> None:
        self.c = ctypes.CDLL(str(library(level, default_cache(), "attention_probe.cpp")))
        self.c.probe_block_elements.restype = ctypes.c_int64
        self.layout, self.dtype = layout, dtype
        draw = torch.Generator().manual_seed(tokens)
        count = -(-tokens // layout.block_tokens)
        self.table = torch.randperm(count + 5, generator=draw)[:count].to(torch.int32)
        size = self.c.probe_block_elements(*map(ctypes.c_int64, (layout.block_tokens, layout.kv_heads, layout.dim)))
        self.data = torch.full((count + 5, size), torch.nan, dtype=dtype)
        heads = layout.kv_heads * layout.group
        self.query = torch.randn(tokens, heads, layout.dim, generator=draw)
        self.key = torch.randn(tokens, layout.kv_heads, layout.dim, generator=draw)
        self.value = torch.randn(tokens, layout.kv_heads, layout.dim, generator=draw)

    def run(self, position: int, stop: int) -> Tensor:
        """The rows of tokens position .. stop, computed as one chunk."""
        out = torch.empty_like(self.query[position:stop])
        shape = (self.layout.block_tokens, self.layout.kv_heads, self.layout.group, self.layout.dim)
        tensors = [self.query[position:stop], self.key[position:stop], self.value[position:stop], out]
        self.c.probe_attend(
            ctypes.c_void_p(self.data.data_ptr()),
            *map(ctypes.c_int64, shape),
            ctypes.c_int32(DTYPES.index(self.dtype)),
            ctypes.c_void_p(self.table.data_ptr()),
            ctypes.c_int64(position),
            ctypes.c_int64(stop - position),
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors),
        )
        return out

    def wanted(self) -> Tensor:
        q, k, v = (x.to(self.dtype).double().transpose(0, 1)[None] for x in (self.query, self.key, self.value))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1 / 8, enable_gqa=True)[0].transpose(
            0, 1
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_a_prompt_is_what_torch_computes(level: Level, layout: Layout, dtype: torch.dtype) -> None:
    for tokens in (1, 2, 15, 16, 17, 67, 130):
        paged = Paged(level, layout, dtype, tokens)
        got = paged.run(0, tokens)
        assert float((got.double() - paged.wanted()).abs().max()) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_chunks_give_the_same_bits(level: Level, layout: Layout, dtype: torch.dtype) -> None:
    whole = Paged(level, layout, dtype, 67).run(0, 67)
    for cuts in ([*range(68)], [0, 1, 8, 9, 40, 67], [0, 33, 66, 67]):
        paged = Paged(level, layout, dtype, 67)
        parts = [paged.run(start, stop) for start, stop in pairwise(cuts)]
        assert torch.equal(torch.cat(parts), whole)
