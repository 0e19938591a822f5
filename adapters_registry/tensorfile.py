"""Reads a safetensors file without trusting it: a bounded header, then the data in pieces.

8 bytes  header length N, little endian
N bytes  JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}
rest     the tensors, back to back, in the order of their offsets
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapters_registry.errors import InvalidTensors, NotFinite

HEADER_BYTES = 1 << 20
TENSORS = 4096
_PIECE_BYTES = 4 << 20
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_REMEDY = "save it again with PEFT's save_pretrained"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the file; offsets are from the file's start."""

    dtype: str
    """F32, F16 or BF16."""
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, size: int) -> dict[str, TensorInfo]:
    """The tensors of the file of ``size`` bytes; ``InvalidTensors`` unless they cover its data exactly."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise InvalidTensors(f"The safetensors file is cut short: {_REMEDY}.", param="header")
    if length > HEADER_BYTES:
        raise InvalidTensors(f"The safetensors header has {length} bytes, over {HEADER_BYTES}.", param="header")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidTensors(f"The safetensors header is not JSON ({error}): {_REMEDY}.", param="header") from None
    if not isinstance(header, dict):
        raise InvalidTensors(f"The safetensors header is not an object: {_REMEDY}.", param="header")
    header.pop("__metadata__", None)
    if len(header) > TENSORS:
        raise InvalidTensors(f"The file has {len(header)} tensors, over {TENSORS}.", param="header")
    infos = {name: _info(name, entry, 8 + length) for name, entry in header.items()}
    _check_cover(infos, 8 + length, size)
    return infos


def all_zero(file: BinaryIO, infos: Mapping[str, TensorInfo]) -> frozenset[str]:
    """Reads every value once: the tensors that are zero throughout; ``NotFinite`` names one with NaN or Inf."""
    zero = set()
    for name, info in sorted(infos.items(), key=lambda item: item[1].begin):
        if not _any_nonzero(file, name, info):
            zero.add(name)
    return frozenset(zero)


def _any_nonzero(file: BinaryIO, name: str, info: TensorInfo) -> bool:
    file.seek(info.begin)
    left, nonzero = info.end - info.begin, False
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            raise InvalidTensors(f"The safetensors file is cut short at {name}.", param=name)
        left -= len(piece)
        bits, exponent = _bits(piece, info.dtype)
        if ((bits & exponent) == exponent).any():
            raise NotFinite(f"Tensor {name} holds NaN or infinity: the training diverged.", param=name)
        nonzero = nonzero or bool((bits << 1).any())
    return nonzero


def _bits(piece: bytes, dtype: str) -> tuple[NDArray[Any], Any]:
    """The values' bits and the mask of their exponent: all ones there is NaN or Inf; shifting drops the sign."""
    if dtype == "F32":
        return np.frombuffer(piece, "<u4"), np.uint32(0x7F80_0000)
    return np.frombuffer(piece, "<u2"), np.uint16(0x7C00 if dtype == "F16" else 0x7F80)


def _info(name: str, entry: object, data: int) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise InvalidTensors(f"Tensor {name!r} has a malformed header entry: {_REMEDY}.", param=name)
    if dtype not in _ITEM_BYTES:
        raise InvalidTensors(f"Tensor {name} is {dtype}: save it as F32, F16 or BF16.", param=name)
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise InvalidTensors(f"Tensor {name} has an impossible shape: {_REMEDY}.", param=name)
    if not 0 <= begin <= end or end - begin != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise InvalidTensors(f"Tensor {name}'s offsets do not fit its shape and type: {_REMEDY}.", param=name)
    return TensorInfo(dtype, tuple(shape), data + begin, data + end)


def _check_cover(infos: Mapping[str, TensorInfo], data: int, size: int) -> None:
    position = data
    for name, info in sorted(infos.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != position:
            raise InvalidTensors(f"Tensor {name} overlaps another or leaves a gap: {_REMEDY}.", param=name)
        position = info.end
    if position != size:
        raise InvalidTensors(f"The tensors end at byte {position}, the file at {size}: {_REMEDY}.", param="header")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found
