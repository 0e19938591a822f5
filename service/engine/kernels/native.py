"""Calls the compiled kernels: structures of model.h, memory owned by Python, calls without the GIL."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_void_p, sizeof
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.kernels.errors import NativeUnavailable
from service.errors import BaseUnavailable

TYPES = {torch.float32: 0, torch.bfloat16: 1}
"""``Type`` in gemm_pack.h."""
_ALIGNMENT = 64


class Weight(Structure):
    _fields_ = [("data", c_void_p), ("bias", c_void_p), ("n", c_int64), ("k", c_int64)]


class Layer(Structure):
    _fields_ = [
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("qkv", Weight),
        ("o", Weight),
        ("gate_up", Weight),
        ("down", Weight),
    ]


class Model(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("type", "layers", "hidden", "heads", "kv_heads", "dim", "inner")),
        ("vocabulary", c_int32),
        ("block_tokens", c_int32),
        ("eps", c_float),
        ("scale", c_float),
        ("embedding", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
        ("layer", POINTER(Layer)),
        ("final_norm", c_void_p),
        ("head", Weight),
        ("blocks", c_void_p),
        ("block_count", c_int64),
    ]


class AdapterPart(Structure):
    _fields_ = [
        ("b", c_void_p),
        ("bias", c_void_p),
        ("out_at", c_int32),
        ("out", c_int32),
        ("rank_at", c_int32),
        ("rank_words", c_int32),
    ]


class AdapterSite(Structure):
    _fields_ = [("a", c_void_p), ("ranks", c_int32), ("parts", c_int32), ("part", AdapterPart * 3)]


class Step(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("rows", "chunks", "segments", "samples", "greedy")),
        *((name, c_void_p) for name in ("tokens", "chunk", "blocks", "segment", "sample_rows", "best", "logits")),
        ("low_elements", c_int64),
        ("phase_s", c_void_p),
    ]


PHASES = ("norms", "qkv", "heads", "attention", "o", "gate up", "activate", "down", "head")
"""``Phase`` in model.h."""


CHUNK = np.dtype([(name, np.int32) for name in ("row", "tokens", "position", "blocks_at")])
SEGMENT = np.dtype([("begin", np.int32), ("stop", np.int32), ("sites", np.uint64)])
_SIZES = (sizeof(Model), sizeof(Layer), sizeof(Step), CHUNK.itemsize, SEGMENT.itemsize, sizeof(AdapterSite))


class Library:
    """One compiled library. Its only state is the engines that it created."""

    def __init__(self, path: Path) -> None:
        try:
            self._c = c = ctypes.CDLL(str(path))
        except OSError as error:
            raise NativeUnavailable(f"the compiled kernels cannot be loaded: {error}") from error
        c.qc_level.restype = ctypes.c_char_p
        for name, restype, argtypes in (
            ("qc_packed_bytes", c_int64, [c_int64, c_int64, c_int32]),
            ("qc_pack", None, [c_void_p, c_int64, c_int64, c_int32, c_void_p, c_int64]),
            ("qc_adapter_row", c_int64, [c_int64, c_int32]),
            ("qc_adapter_pack_a", None, [c_void_p, c_int64, c_int64, c_int32, c_void_p]),
            ("qc_adapter_pack_b", None, [c_void_p, c_int64, c_int64, c_int32, c_void_p]),
            ("qc_block_bytes", c_int64, [POINTER(Model)]),
            ("qc_engine_new", c_void_p, [POINTER(Model), c_int32, POINTER(c_int32)]),
            ("qc_engine_free", None, [c_void_p]),
            ("qc_step", c_int32, [c_void_p, POINTER(Step)]),
        ):
            function = getattr(c, name)
            function.restype, function.argtypes = restype, argtypes
        told = (c_int64 * len(_SIZES))()
        c.qc_sizes(told)
        assert tuple(told) == _SIZES, f"native.py does not mirror model.h: {tuple(told)} and {_SIZES}"

    @property
    def level(self) -> str:
        return str(self._c.qc_level().decode())

    def packed_bytes(self, n: int, k: int, dtype: torch.dtype) -> int:
        return int(self._c.qc_packed_bytes(n, k, TYPES[dtype]))

    def pack(self, weight: Tensor, out: int, first: int) -> None:
        """Rows of ``weight`` [n, k] become rows first .. first + n of the packed weight at address ``out``."""
        source = weight.detach().contiguous()
        n, k = source.shape
        self._c.qc_pack(source.data_ptr(), n, k, TYPES[source.dtype], out, first)

    def adapter_row(self, size: int, dtype: torch.dtype) -> int:
        """Elements of one row of a packed A with input size ``size``."""
        return int(self._c.qc_adapter_row(size, TYPES[dtype]))

    def pack_a(self, a_t: Tensor, out: int) -> None:
        """Write ``a_t`` [in, rank] as rows of A at address ``out``."""
        self._c.qc_adapter_pack_a(a_t.data_ptr(), *a_t.shape, TYPES[a_t.dtype], out)

    def pack_b(self, b_t: Tensor, out: int) -> None:
        """Write ``b_t`` [rank, out] as panels of B at address ``out``."""
        self._c.qc_adapter_pack_b(b_t.data_ptr(), *b_t.shape, TYPES[b_t.dtype], out)

    def block_bytes(self, model: Model) -> int:
        """Bytes of one KV block over all layers."""
        return int(self._c.qc_block_bytes(byref(model)))

    def engine(self, model: Model, threads: int) -> int:
        """A handle for ``step`` and ``free``; the memory that ``model`` points at must outlive it.

        Raises ``BaseUnavailable`` if the system has too little memory or cannot start the threads.
        """
        error = c_int32()
        handle = self._c.qc_engine_new(byref(model), threads, byref(error))
        if not handle:
            raise BaseUnavailable(
                f"the native engine cannot start its {threads} threads: {os.strerror(error.value)}; allow more "
                "processes and memory (ulimit -u, the container's limit of pids), or set fewer --engine.threads"
            )
        return int(handle)

    def free(self, handle: int) -> None:
        self._c.qc_engine_free(handle)

    def step(self, handle: int, step: Step) -> None:
        """Compute one step; call it from one thread at a time. The GIL is released meanwhile."""
        if self._c.qc_step(handle, byref(step)) != 0:
            raise MemoryError(f"no memory for a step of {step.rows} rows")


def aligned(size: int) -> NDArray[np.uint8]:
    """``size`` bytes at a multiple of 64; pages that are never written take no memory."""
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]
