"""The slab: one adapter's canonical weights as one file, read back as one buffer.

::

    0    magic        8 bytes   "QCSLAB\\0\\1"
    8    sha256      32 bytes   of everything that follows
    40   header size  8 bytes   little endian
    48   header                 JSON, padded with spaces so that the next offset is a multiple of 64
    ...  tensors                each at a multiple of 64 (a cache line, a vector register)

    header = {"digest", "layout", "kind", "base", "tensors": {name: {"dtype", "shape", "offset"}}}
    offset is from the end of the header
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from adapters_registry.support.durable import write_whole

MAGIC = b"QCSLAB\0\1"
_HASHED_FROM = 40
_HEADER_FROM = 48
_ALIGN = 64
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16)}


class CorruptSlab(Exception):
    """The file differs from the slab that was written: delete it and fetch the adapter again."""


@dataclass(frozen=True, slots=True)
class SlabLabel:
    """The contents of a slab: which adapter, in which form."""

    digest: str
    """Digest of the adapter version."""
    layout: str
    """The engine's name for the canonical form."""
    kind: str
    base: str
    """Digest of the base that the adapter was made for."""


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """A slab in memory: every tensor is a view into ``buffer``."""

    label: SlabLabel
    tensors: dict[str, Tensor]
    buffer: mmap.mmap
    """Separate anonymous memory, returned to the system with the last view; malloc might keep it."""

    @property
    def nbytes(self) -> int:
        return len(self.buffer)


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    offset: int


def write_slab(path: Path, label: SlabLabel, tensors: Mapping[str, Tensor]) -> None:
    """Write the whole slab or nothing. ``tensors`` are contiguous and of a float type."""
    write_whole(path, _parts(label, tensors))


def slab_in_memory(label: SlabLabel, tensors: Mapping[str, Tensor]) -> Slab:
    """The slab as it would be read after writing, without a file."""
    parts = _parts(label, tensors)
    buffer, at = mmap.mmap(-1, sum(map(len, parts))), 0
    for part in parts:
        buffer[at : at + len(part)] = bytes(part)
        at += len(part)
    return _parse(buffer, "a slab in memory")


def read_slab(path: Path) -> Slab:
    """Read and verify ``path``; ``FileNotFoundError`` if there is none, ``CorruptSlab`` if it does not verify."""
    return _parse(_read(path), path.name)


def _parse(buffer: mmap.mmap, name: str) -> Slab:
    view = memoryview(buffer)
    if view[:8] != MAGIC or hashlib.sha256(view[_HASHED_FROM:]).digest() != view[8:_HASHED_FROM]:
        raise CorruptSlab(f"{name}: the checksum does not match")
    size = int.from_bytes(view[_HASHED_FROM:_HEADER_FROM], "little")
    header: dict[str, Any] = json.loads(bytes(view[_HEADER_FROM : _HEADER_FROM + size]))
    entries: dict[str, _Entry] = header.pop("tensors")
    body = _HEADER_FROM + size
    views = {name: _view(buffer, entry, body) for name, entry in entries.items()}
    return Slab(_label(name, header), views, buffer)


def _label(name: str, header: Mapping[str, Any]) -> SlabLabel:
    """Further fields of other releases are ignored: the layout's name shows whether the tensors fit."""
    try:
        return SlabLabel(**{field.name: header[field.name] for field in fields(SlabLabel)})
    except KeyError as error:
        raise CorruptSlab(f"{name}: its header has no {error}") from None


def _parts(label: SlabLabel, tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    assert all(str(tensor.dtype) in _DTYPES for tensor in tensors.values())
    header = _header(label, tensors)
    parts = [len(header).to_bytes(8, "little"), header, *_body(tensors)]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    return [MAGIC, checksum.digest(), *parts]


def _read(path: Path) -> mmap.mmap:
    with path.open("rb", buffering=0) as source:
        size = source.seek(0, 2)
        source.seek(0)
        if size <= _HEADER_FROM:
            raise CorruptSlab(f"{path.name}: {size} bytes are too few")
        buffer = mmap.mmap(-1, size)
        view, done = memoryview(buffer), 0
        # A loop, because one read call returns at most 2 GiB.
        while done < size:
            count = source.readinto(view[done:])
            if not count:
                raise CorruptSlab(f"{path.name}: it ends after {done} of {size} bytes")
            done += count
    return buffer


def _header(label: SlabLabel, tensors: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, _Entry] = {}
    offset = 0
    for name, tensor in tensors.items():
        entries[name] = {"dtype": str(tensor.dtype), "shape": list(tensor.shape), "offset": offset}
        offset = _aligned(offset + tensor.nbytes)
    raw = json.dumps({**asdict(label), "tensors": entries}).encode()
    return raw.ljust(_aligned(_HEADER_FROM + len(raw)) - _HEADER_FROM)


def _body(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    for tensor in tensors.values():
        yield tensor.contiguous().view(-1).view(torch.uint8).numpy().data
        yield bytes(_aligned(tensor.nbytes) - tensor.nbytes)


def _view(buffer: mmap.mmap, entry: _Entry, body: int) -> Tensor:
    count = math.prod(entry["shape"])
    dtype = _DTYPES[entry["dtype"]]
    if not count:
        return torch.empty(entry["shape"], dtype=dtype)
    flat = torch.frombuffer(buffer, dtype=dtype, count=count, offset=body + entry["offset"])
    return flat.view(entry["shape"])


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN
