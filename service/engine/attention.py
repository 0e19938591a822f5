"""Paged attention in torch, the reference path, called through transformers' ``AttentionInterface``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from service.engine.batch import Batch, Decode, Prefill
from service.errors import BaseUnavailable

NAME = "quickchange"
"""Not registered in ``AttentionMaskInterface``, so transformers builds no mask for it."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Number and size of the key heads of one layer."""

    heads: int
    key_dim: int
    value_dim: int


class KVCache:
    """Keys and values of all layers in blocks, set to 0 before their first use, so that masked padding is finite."""

    def __init__(
        self,
        shapes: list[LayerShape],
        blocks: int,
        block_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.block_tokens = block_tokens
        size = (blocks, block_tokens)
        self.keys = [torch.zeros(*size, s.heads, s.key_dim, dtype=dtype, device=device) for s in shapes]
        self.values = [torch.zeros(*size, s.heads, s.value_dim, dtype=dtype, device=device) for s in shapes]

    @staticmethod
    def block_bytes(shapes: list[LayerShape], block_tokens: int, dtype: torch.dtype) -> int:
        """Bytes of one block over all layers."""
        width = sum(shape.heads * (shape.key_dim + shape.value_dim) for shape in shapes)
        return width * block_tokens * dtype.itemsize

    def wipe(self, layer: int, blocks: Tensor) -> None:
        """Set ``blocks`` [n] to 0."""
        self.keys[layer].index_fill_(0, blocks, 0)
        self.values[layer].index_fill_(0, blocks, 0)

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Write ``key`` and ``value`` [rows, heads, dim] to ``slots`` [rows]."""
        self.keys[layer].view(-1, *key.shape[1:]).index_copy_(0, slots, key)
        self.values[layer].view(-1, *value.shape[1:]).index_copy_(0, slots, value)

    def read(self, layer: int, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values [..., n · block_tokens, heads, dim] of ``blocks`` [..., n]."""
        keys, values = self.keys[layer][blocks], self.values[layer][blocks]
        return keys.flatten(-4, -3), values.flatten(-4, -3)


@dataclass(slots=True)
class _Pass:
    """The current forward pass of this thread."""

    batch: Batch | None
    cache: KVCache | None
    shapes: dict[int, LayerShape]
    calls: int = 0


_current = local()


@contextmanager
def forward_pass(batch: Batch | None, cache: KVCache | None) -> Iterator[_Pass]:
    """Attention calls within the block run over ``batch``; without a cache they only record the layers' shapes."""
    _current.run = run = _Pass(batch, cache, {})
    try:
        yield run
    finally:
        del _current.run


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """``query`` [1, heads, rows, dim], ``key``/``value`` [1, kv heads, rows, dim] → [1, rows, heads, dim]."""
    run: _Pass = _current.run
    run.calls += 1
    if s_aux is not None or getattr(module, "is_causal", True) is False:
        raise BaseUnavailable(
            f"{type(module).__name__} uses attention sinks or is not causal, which this engine does not "
            "compute; serve another base model"
        )
    layer: int = module.layer_idx  # type: ignore[assignment]
    run.shapes[layer] = LayerShape(key.shape[1], key.shape[3], value.shape[3])
    if run.batch is None or run.cache is None:
        return query.transpose(1, 2)[..., : value.shape[3]], None
    rule = _Rule(
        scaling if scaling is not None else query.shape[-1] ** -0.5,
        _window(module, sliding_window),
        softcap,
    )
    q = query[0].transpose(0, 1)  # [rows, heads, dim]
    if len(run.batch.begun):
        run.cache.wipe(layer, run.batch.begun)
    for given in run.batch.given_keys:
        run.cache.write(layer, given.slots, given.keys[layer].to(key.dtype), given.values[layer].to(key.dtype))
    run.cache.write(layer, run.batch.slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
    out = q.new_empty(q.shape[0], q.shape[1], value.shape[3])
    for prefill in run.batch.prefills:
        out[prefill.start : prefill.stop] = _prefill(q, prefill, run.batch, run.cache, layer, rule)
    if run.batch.decode is not None:
        out[run.batch.decode.rows] = _decode(q, run.batch.decode, run.batch, run.cache, layer, rule)
    return out[None], None


AttentionInterface.register(NAME, paged_attention)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one layer scores: scale, sliding window in tokens (0: none), soft cap."""

    scale: float
    window: int
    softcap: float | None


def _window(module: nn.Module, given: int | None) -> int:
    """The layer's sliding window; some architectures pass it, others store it in the module."""
    own = given if given is not None else getattr(module, "sliding_window", None)
    return int(own) if own else 0


def _prefill(q: Tensor, chunk: Prefill, batch: Batch, cache: KVCache, layer: int, rule: _Rule) -> Tensor:
    keys, values = cache.read(layer, chunk.blocks)
    rows = q[chunk.start : chunk.stop]
    mask_key = ("prefill", chunk.start, rule.window)
    mask = batch.masks.get(mask_key)
    if mask is None:
        at = torch.arange(chunk.context, device=q.device)
        mask = batch.masks[mask_key] = _visible(at[None, :], at[-len(rows) :, None] + 1, rule.window)
    return _attend(rows[None], keys[None, : chunk.context], values[None, : chunk.context], mask[None], rule)[0]


def _decode(q: Tensor, rows: Decode, batch: Batch, cache: KVCache, layer: int, rule: _Rule) -> Tensor:
    keys, values = cache.read(layer, rows.blocks)
    mask_key = ("decode", rule.window)
    mask = batch.masks.get(mask_key)
    if mask is None:
        at = torch.arange(keys.shape[1], device=q.device)
        mask = batch.masks[mask_key] = _visible(at[None, :], rows.context[:, None], rule.window)[:, None, :]
    return _attend(q[rows.rows][:, None], keys, values, mask, rule)[:, 0]


def _visible(key_at: Tensor, context: Tensor, window: int) -> Tensor:
    """Whether a row with ``context`` tokens (its own is the last) sees the key at ``key_at``."""
    visible = key_at < context
    return visible & (key_at >= context - window) if window else visible


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, rule: _Rule) -> Tensor:
    """q [n, rows, heads, dim], k/v [n, keys, kv heads, dim], mask [n, rows, keys] → [n, rows, heads, dim].

    The query heads of one key head become rows of it: on the CPU several times as fast as ``enable_gqa``.
    """
    n, rows, heads, dim = q.shape
    kv_heads = k.shape[2]
    groups = heads // kv_heads
    q = q.view(n, rows, kv_heads, groups, dim).permute(0, 2, 3, 1, 4).reshape(n, kv_heads, groups * rows, dim)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    seen = mask[:, None, None].expand(n, 1, groups, rows, -1).reshape(n, 1, groups * rows, -1)
    if rule.softcap is None:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=rule.scale)
    else:
        out = _capped(q, k, v, seen, rule.scale, rule.softcap)
    return out.view(n, kv_heads, groups, rows, -1).permute(0, 3, 1, 2, 4).reshape(n, rows, heads, -1)


def _capped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, softcap: float) -> Tensor:
    """cap · tanh(q kᵀ · scale / cap), the scores of Gemma 2."""
    scores = softcap * torch.tanh((q @ k.transpose(-1, -2)) * scale / softcap)
    weights = scores.masked_fill(~mask, -math.inf).softmax(-1, dtype=torch.float32)
    return weights.to(v.dtype) @ v
