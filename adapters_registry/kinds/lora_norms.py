"""Norms of a LoRA's matrices, without ever forming B·A; reads every value of the file once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapters_registry.errors import NotFinite
from adapters_registry.findings import ModuleNorms
from adapters_registry.manifest import LoraModule
from adapters_registry.tensorfile import TensorInfo, rows

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_TINY = float(np.finfo(np.float32).tiny)
"""Smallest normal number; smaller values may count as zero."""

Matrix = NDArray[np.float64]


class _Reader:
    """The tensors of one module, and the largest value seen in them."""

    def __init__(self, file: BinaryIO, infos: Mapping[str, TensorInfo]) -> None:
        self._file = file
        self._infos = infos
        self.max_abs = 0.0

    def pieces(self, tensor: str) -> Iterator[Matrix]:
        for piece in rows(self._file, tensor, self._infos[tensor]):
            self.max_abs = max(self.max_abs, float(np.abs(piece).max()))
            yield piece

    def norm(self, tensor: str) -> float:
        return float(np.sqrt(sum(float((piece * piece).sum()) for piece in self.pieces(tensor))))


def measure(
    file: BinaryIO, infos: Mapping[str, TensorInfo], modules: Sequence[LoraModule]
) -> tuple[ModuleNorms, ...]:
    """One entry per module, unrounded. ``NotFinite`` names a tensor with NaN or infinity, or a delta beyond
    float32."""
    return tuple(_module(_Reader(file, infos), module) for module in modules)


def _module(reader: _Reader, module: LoraModule) -> ModuleNorms:
    outer = inner = np.zeros((0, 0))
    tensors = module.tensors
    if "a" in tensors and "b" in tensors:
        pieces = list(reader.pieces(tensors["a"]))
        a = np.concatenate(pieces) if pieces else np.zeros((module.rank, 0))  # [rank, in]
        outer = a @ a.T
        inner = np.zeros_like(outer)
        for piece in reader.pieces(tensors["b"]):  # [n, rank]
            inner += piece.T @ piece
    # ‖BA‖² = tr(AᵀBᵀBA) = tr(BᵀB · AAᵀ) = Σ BᵀB ∘ AAᵀ, two rank × rank matrices.
    delta = abs(module.scale) * float(np.sqrt(max(0.0, float((inner * outer).sum()))))
    bias = 0.0
    if "b_bias" in tensors:
        bias = abs(module.scale) * reader.norm(tensors["b_bias"])
    if "bias" in tensors:
        bias = float(np.hypot(bias, reader.norm(tensors["bias"])))
    if max(delta, bias) > FLOAT32_MAX:
        raise NotFinite(
            f"What the adapter adds to {module.module} is beyond float32: train with a lower lora_alpha.",
            param=module.module,
        )
    return ModuleNorms(
        module=module.module,
        a=float(np.sqrt(np.trace(outer))),
        b=float(np.sqrt(np.trace(inner))),
        delta=delta,
        bias=bias,
        max_abs=reader.max_abs,
    )
