"""Reads a safetensors file without trusting it: a bounded header, then the values in chunks.

8 bytes  header length N, little endian
N bytes  JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}
rest     the tensors, back to back, in the order of their offsets

Every file accepted here is also accepted by the safetensors library, so a published adapter can be loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapters_registry.errors import InvalidTensors, NotFinite, PickleRefused

HEADER_BYTES = 1 << 20
TENSORS = 4096
_PIECE_BYTES = 4 << 20
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_BITS = {8: "<u8", 4: "<u4", 2: "<u2"}
_EXPONENT: dict[str, Any] = {
    "F64": np.uint64(0x7FF0_0000_0000_0000),
    "F32": np.uint32(0x7F80_0000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}
"""Exponent bits: all ones is NaN or infinity."""
_REMEDY = "save it again with PEFT's save_pretrained"
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the file; offsets are from the file's start."""

    dtype: str
    """F64, F32, F16 or BF16."""
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, size: int) -> dict[str, TensorInfo]:
    """The tensors of the file of ``size`` bytes; ``InvalidTensors`` unless they cover its data exactly."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if length > HEADER_BYTES:
        raise _not_safetensors(start) or InvalidTensors(
            f"The safetensors header has {length} bytes, over {HEADER_BYTES}: {_REMEDY}.", param="header"
        )
    if size < 8 or length > size - 8:
        raise InvalidTensors(f"The safetensors file is cut short: {_REMEDY}.", param="header")
    header = _parse(file.read(length))
    _check_metadata(header.pop("__metadata__", {}))
    if len(header) > TENSORS:
        raise InvalidTensors(
            f"The file has {len(header)} tensors, over {TENSORS}: save only the adapter.", param="header"
        )
    infos = {name: _info(name, entry, 8 + length) for name, entry in header.items()}
    _check_cover(infos, 8 + length, size)
    return infos


def rows(file: BinaryIO, name: str, info: TensorInfo) -> Iterator[NDArray[np.float64]]:
    """The tensor's values in order, in chunks of whole rows, [n, columns]; of a vector, [n, 1].

    float64 values are cast to float32, as a loader does. Raises ``NotFinite`` for a NaN or an infinity, and for a
    number beyond float32.
    """
    row_bytes = math.prod(info.shape[1:]) * ITEM_BYTES[info.dtype]
    left = info.end - info.begin
    file.seek(info.begin)
    while left:
        piece = file.read(min(left, max(1, _PIECE_BYTES // row_bytes) * row_bytes))
        if not piece or len(piece) % row_bytes:
            raise InvalidTensors(f"The safetensors file is cut short at {name}: {_REMEDY}.", param=name)
        left -= len(piece)
        bits = np.frombuffer(piece, _BITS[ITEM_BYTES[info.dtype]])
        exponent = _EXPONENT[info.dtype]
        if ((bits & exponent) == exponent).any():
            raise NotFinite(
                f"Tensor {name} holds NaN or infinity: the training diverged; train again, or push an earlier "
                "checkpoint.",
                param=name,
            )
        numbers = _numbers(bits, info.dtype)
        if info.dtype == "F64" and not np.isfinite(numbers).all():
            raise NotFinite(
                f"Tensor {name} holds a number beyond float32: save the adapter in float32, bfloat16 or float16.",
                param=name,
            )
        yield numbers.reshape(len(piece) // row_bytes, -1)


def _numbers(bits: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    if dtype == "BF16":  # the upper half of a float32
        return (bits.astype("<u4") << np.uint32(16)).view("<f4").astype(np.float64)
    if dtype == "F64":
        with np.errstate(over="ignore"):  # the caller checks for infinity
            return bits.view("<f8").astype("<f4").astype(np.float64)
    return bits.view("<f4" if dtype == "F32" else "<f2").astype(np.float64)


def _not_safetensors(start: bytes) -> InvalidTensors | PickleRefused | None:
    """The error for a header of impossible length, by the format that its first bytes show."""
    if start.startswith(b"PK\x03\x04") or start[0] == 0x80:
        return PickleRefused(
            f"{_WEIGHTS} is a pickle or a zip archive under another name, which can run code: save the adapter again "
            "with save_pretrained(..., safe_serialization=True).",
            param=_WEIGHTS,
        )
    if start == b"version ":
        return InvalidTensors(
            f"{_WEIGHTS} is a Git LFS pointer, not the weights: run `git lfs pull`, then push again.", param=_WEIGHTS
        )
    return None


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = read_json(text)
    except ValueError as error:
        raise InvalidTensors(f"The safetensors header is not JSON ({error}): {_REMEDY}.", param="header") from None
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise InvalidTensors(f"The safetensors header is not an object: {_REMEDY}.", param="header")
    return header


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidTensors(
            f"The safetensors header's __metadata__ is not an object of strings: {_REMEDY}.", param="__metadata__"
        )


def _info(name: str, entry: object, data: int) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **more} if not more:
            pass
        case _:
            raise InvalidTensors(f"Tensor {name!r} has a malformed header entry: {_REMEDY}.", param=name)
    if dtype not in ITEM_BYTES:
        raise InvalidTensors(f"Tensor {name} is {dtype}: save it as F32, F16, BF16 or F64.", param=name)
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise InvalidTensors(f"Tensor {name} has an impossible shape: {_REMEDY}.", param=name)
    # bool is an int for isinstance
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        raise InvalidTensors(f"Tensor {name} has impossible offsets: {_REMEDY}.", param=name)
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise InvalidTensors(f"Tensor {name}'s offsets do not fit its shape and type: {_REMEDY}.", param=name)
    return TensorInfo(dtype, tuple(shape), data + begin, data + end)


def _check_cover(infos: Mapping[str, TensorInfo], data: int, size: int) -> None:
    position = data
    for name, info in sorted(infos.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.end > size:
            raise InvalidTensors(
                f"Tensor {name} ends at byte {info.end}, the file at {size}: it was cut short; {_REMEDY}.", param=name
            )
        if info.begin != position:
            raise InvalidTensors(f"Tensor {name} overlaps another or leaves a gap: {_REMEDY}.", param=name)
        position = info.end
    if position != size:
        raise InvalidTensors(f"The tensors end at byte {position}, the file at {size}: {_REMEDY}.", param="header")


def read_json(text: bytes) -> Any:
    """Text that every JSON reader accepts, including PEFT's and the safetensors library's; otherwise
    ``ValueError``."""
    try:
        # Decoded here, since json would also accept UTF-16 and UTF-32.
        value = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer)
        json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair, which is not valid text
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses duplicate keys, of which readers might use the first or the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _integer(text: str) -> int:
    if text == "-0":  # some readers make it a float
        raise ValueError("-0 is not an integer")
    return int(text)
