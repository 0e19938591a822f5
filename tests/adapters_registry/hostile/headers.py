"""Artifacts whose safetensors container is wrong: lengths, header, entries, offsets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from adapters_registry.tensorfile import HEADER_BYTES, TENSORS
from tests.adapters_registry import artifacts
from tests.adapters_registry.hostile.case import A0, A1, B0, B1, Bytes, Case, Sparse, container, folder

_GOOD = artifacts.pack(artifacts.tensors())
_LENGTH = int.from_bytes(_GOOD[:8], "little")
_TEXT, _DATA = _GOOD[8 : 8 + _LENGTH], _GOOD[8 + _LENGTH :]


def _file(what: str, weights: Bytes, param: str = "header") -> Case:
    return Case(what, "invalid_tensors", param, lambda: folder(weights=weights))


def _header(what: str, text: bytes | dict[str, Any]) -> Case:
    return _file(what, container(text, _DATA))


def _entry(what: str, name: str = A0, **changes: Any) -> Case:
    """The header's entry ``name`` with some values changed, or (None) left out."""
    header = json.loads(_TEXT)
    entry = header[name] | changes
    header[name] = {key: value for key, value in entry.items() if value is not None}
    return _file(what, container(header, _DATA), name)


def _many(count: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return json.dumps({str(i): entry for i in range(count)}, separators=(",", ":")).encode()


_LENGTHS = (
    _file("7 bytes", b"\x10\0\0\0\0\0\0"),
    _file("an empty header", container(b"", b"")),
    _file("a header of 2^63 bytes", container(_TEXT, _DATA, length=1 << 63)),
    _file("a header of 2^64 - 1 bytes", container(_TEXT, _DATA, length=(1 << 64) - 1)),
    _file("a header that is longer than the file", container(_TEXT, _DATA, length=len(_TEXT) + len(_DATA) + 1)),
    _file("a header of more than 1 MiB", container(_TEXT + b" " * HEADER_BYTES, _DATA)),
    _file("a header of 64 MiB", container(b"{", Sparse(b"", 64 << 20), length=64 << 20)),
    _file("truncated within the header", _GOOD[: _LENGTH // 2]),
    _file("truncated within the tensors", _GOOD[:-1], B1),
    _file("a byte after the tensors", _GOOD + b"\0"),
    _file("a second file after the tensors", _GOOD + _GOOD),
    _file("arbitrary bytes", bytes(range(256)) * 16),
)
_TEXTS = (
    _header("header: not JSON", b"{'a': 1}"),
    _header("header: a list", b"[]"),
    _header("header: a leading space", b" " + _TEXT),
    _header("header: a byte order mark", b"\xef\xbb\xbf" + _TEXT),
    _header("header: UTF-16", _TEXT.decode().encode("utf-16-le")),
    _header("header: not UTF-8", _TEXT.replace(b"base_model", b"base_m\xf8del")),
    _header("header: a lone surrogate", b'{"\\ud800":' + _TEXT[1:].partition(b":")[2]),
    _header("header: nested 100,000 deep", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    _file("header: 300,000 empty lists", container(b'{"a":[' + b"[]," * 300_000 + b"[]]}", _DATA), "a"),
    _header("header: a duplicate tensor", _TEXT[:-1] + b"," + _TEXT[_TEXT.index(b'"base_model') :]),
    _header(
        "header: a duplicate key of a tensor", _TEXT.replace(b'"dtype": "F32"', b'"dtype": "F32", "dtype": "F16"')
    ),
    _header("header: NaN as a dimension", _TEXT.replace(b'"shape": [2, 4]', b'"shape": [2, NaN]')),
    _header("header: -0 as an offset", _TEXT.replace(b'"data_offsets": [0,', b'"data_offsets": [-0,')),
    _header("header: a number of 100,000 digits", b'{"a":' + b"9" * 100_000 + b"}"),
    _header(f"{TENSORS + 1:,} tensors", _many(TENSORS + 1)),
    _header("10,000 tensors", _many(10_000)),
    _file("`__metadata__`: a list", artifacts.pack(artifacts.tensors(), __metadata__=["pt"]), "__metadata__"),
    _file(
        "`__metadata__`: a number in it", artifacts.pack(artifacts.tensors(), __metadata__={"a": 1}), "__metadata__"
    ),
)
_ENTRIES = (
    _entry("a tensor of F64 with the size of F32", dtype="F64"),
    _entry("a tensor of I8", dtype="I8"),
    _entry("a tensor of BOOL", dtype="BOOL"),
    _entry("a tensor of F8_E4M3", dtype="F8_E4M3"),
    _entry("a type in lower case", dtype="f32"),
    _entry("a type that is a number", dtype=32),
    _entry("a missing type", dtype=None),
    _entry("missing offsets", data_offsets=None),
    _entry("an entry with an additional key", strides=[4, 1]),
    _entry("a negative dimension", shape=[-2, -4]),
    _entry("a fraction as a dimension", shape=[2.0, 4]),
    _entry("a boolean as a dimension", shape=[True, 8]),
    _entry("2^40 elements", shape=[1 << 20, 1 << 20]),
    _entry("2^40 elements with their offsets", shape=[1 << 20, 1 << 20], data_offsets=[0, 4 << 40]),
    _entry("a shape that overflows 64 bits to the right size", shape=[(1 << 62) + 2, 4]),
    _entry("a shape of 10^30", shape=[10**30], data_offsets=[0, 4 * 10**30]),
    _entry("100 dimensions", shape=[1] * 98 + [2, 4]),
    _entry("negative offsets", data_offsets=[-32, 0]),
    _entry("reversed offsets", data_offsets=[32, 0]),
    _entry("three offsets", data_offsets=[0, 16, 32]),
    _entry("offsets as fractions", data_offsets=[0.0, 32.0]),
    _entry("offsets of a wrong size", data_offsets=[0, 31]),
)


def _moved(what: str, name: str, begin: int, size: int, param: str) -> Case:
    header = json.loads(_TEXT)
    header[name]["data_offsets"] = [begin, begin + size]
    return _file(what, container(header, _DATA), param)


# In the good file A0 is at 0, B0 at 32, A1 at 80, B1 at 112; the data has 160 bytes.
_OFFSETS = (
    _moved("two tensors at the same place", A1, 0, 32, A1),
    _moved("two tensors that overlap", B0, 28, 48, B0),
    _moved("a gap between tensors", B1, 116, 48, B1),
    _moved("a tensor after the end of the file", B1, 1 << 40, 48, B1),
    _moved("a tensor at 2^64", B1, 1 << 64, 48, B1),
    _file(
        "a gap before the first tensor",
        container(
            {A0: {"dtype": "F32", "shape": [2, 4], "data_offsets": [8, 40]}}, b"\0" * 8 + np.ones(8, "<f4").tobytes()
        ),
        A0,
    ),
)

HEADERS = (*_LENGTHS, *_TEXTS, *_ENTRIES, *_OFFSETS)
