from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_registry.errors import InvalidTensors, NotFinite
from adapters_registry.tensorfile import HEADER_BYTES, TENSORS, read_header, rows
from tests.adapters_registry.artifacts import bf16, pack

ONE = np.ones((2, 3), np.float32)


def read(data: bytes):
    return read_header(io.BytesIO(data), len(data))


def values(data: bytes) -> dict[str, list[list[float]]]:
    """Every tensor's rows."""
    file = io.BytesIO(data)
    return {name: np.concatenate(list(rows(file, name, info))).tolist() for name, info in read(data).items()}


def entry(**changes):
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes


def test_shapes_types_and_places():
    data = pack({"a": ONE, "b": ONE[0].astype(np.float16), "c": bf16(ONE)})
    infos = read(data)
    assert {name: (info.dtype, info.shape) for name, info in infos.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("F16", (3,)),
        "c": ("BF16", (2, 3)),
    }
    assert infos["c"].end == len(data)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "header"),
        (b"\x10", "header"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "header"),
        ((HEADER_BYTES + 1).to_bytes(8, "little") + b" " * (HEADER_BYTES + 1), "header"),
        ((2).to_bytes(8, "little") + b"{{", "header"),
        ((2).to_bytes(8, "little") + b"[]", "header"),
        ((1000).to_bytes(8, "little") + b"[" * 1000, "header"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "header"),
        ((14).to_bytes(8, "little") + b'{"a":1,"a":2} ', "header"),
        (pack({f"t{i}": np.zeros(0, np.float32) for i in range(TENSORS + 1)}), "header"),
        (pack({"a": ONE})[:-1], "a"),
        (pack({"a": ONE}).replace(b"[0, 24]", b"[-0,24]"), "header"),
        (pack({"a": ONE}, __metadata__={"a": "\ud800"}), "header"),
        (pack({"a": ONE}, __metadata__={"a": 1}), "__metadata__"),
        (pack({"a": ONE}) + b"\0", "header"),
        (pack({"a": ONE}, a=entry(dtype="F64")), "a"),
        (pack({"a": ONE}, a=entry(shape=[2, 4])), "a"),
        (pack({"a": ONE}, a=entry(shape=[2, True])), "a"),
        (pack({"a": ONE}, a=entry(shape=[-2, -3])), "a"),
        (pack({"a": ONE}, a=entry(shape=[1] * 9)), "a"),
        (pack({"a": ONE}, a=entry(data_offsets=[0, 10**30], shape=[10**30])), "a"),
        (pack({"a": ONE}, a=entry(data_offsets=[24, 0])), "a"),
        (pack({"a": ONE}, a=entry(data_offsets=[0])), "a"),
        (pack({"a": ONE}, a="F32"), "a"),
        (pack({"a": ONE, "b": ONE}, b=entry()), "b"),
        (pack({"a": ONE, "b": ONE}, b=entry(data_offsets=[25, 49])), "b"),
    ],
)
def test_malformed_headers_are_refused(data, named):
    with pytest.raises(InvalidTensors) as caught:
        read(data)
    assert caught.value.param == named


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_header_is_read_or_refused(noise):
    data = len(noise).to_bytes(8, "little") + noise
    with contextlib.suppress(InvalidTensors):
        assert read(data) == {}, "300 bytes of noise hold no tensor"


HEADER = pack({"a": ONE, "b": ONE.astype(np.float16)})
PIECES = (
    b'"F32"',
    b'"F16"',
    b"[2, 3]",
    b"[0, 24]",
    b"[24, 36]",
    b'"a"',
    b'"b"',
    b'"pt"',
    b'"format"',
    b"2",
    b"3",
    b"}",
)
PUT = (
    b"0",
    b"-0",
    b"3",
    b"6",
    b"24",
    b"36",
    b"1e0",
    b"[]",
    b"[6]",
    b"[36, 36]",
    b'"BF16"',
    b'"a"',
    b"null",
    b"{}",
    b"",
    b" }",
)


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(PUT)), min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
def test_what_is_accepted_here_the_safetensors_library_accepts(changes):
    length = int.from_bytes(HEADER[:8], "little")
    text = HEADER[8 : 8 + length]
    for old, new in changes:
        text = text.replace(old, new, 1)
    data = len(text).to_bytes(8, "little") + text + HEADER[8 + length :]
    try:
        infos = read(data)
    except InvalidTensors:
        return
    library = dict(safetensors.deserialize(data))
    assert {name: (info.dtype, list(info.shape)) for name, info in infos.items()} == {
        name: (tensor["dtype"], tensor["shape"]) for name, tensor in library.items()
    }


def test_rows_hold_the_values_of_every_type():
    wide = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
    data = pack({"single": wide, "half": wide.astype(np.float16), "brain": bf16(wide), "vector": wide[1]})
    assert values(data) == {
        "single": wide.tolist(),
        "half": wide.tolist(),
        "brain": wide.tolist(),
        "vector": [[0.75], [1.0], [1.25]],
    }


def test_large_tensors_come_in_pieces_of_whole_rows():
    data = pack({"a": np.arange(3 << 20, dtype=np.float32).reshape(-1, 3)})
    pieces = list(rows(io.BytesIO(data), "a", read(data)["a"]))
    assert len(pieces) > 1
    assert all(piece.shape[1] == 3 and piece.nbytes <= 8 << 20 for piece in pieces)
    assert np.concatenate(pieces).ravel().tolist() == list(range(3 << 20))


def test_a_file_that_shrank_since_its_header_was_read_is_refused():
    data = pack({"a": ONE})
    with pytest.raises(InvalidTensors):
        list(rows(io.BytesIO(data[:-8]), "a", read(data)["a"]))


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("convert", [np.float32, np.float16, bf16])
def test_nan_and_infinity_are_found(value, convert):
    bad = np.ones(5000, np.float32)
    bad[4321] = value
    array = bf16(bad) if convert is bf16 else bad.astype(convert)
    with pytest.raises(NotFinite) as caught:
        values(pack({"good": ONE, "bad": array}))
    assert caught.value.param == "bad"


@pytest.mark.parametrize("convert", [np.float32, np.float16, bf16])
def test_the_largest_numbers_pass(convert):
    top = np.full(3, 65504.0, np.float32)
    ((largest, *_), *_) = values(pack({"a": bf16(top) if convert is bf16 else top.astype(convert)}))["a"]
    assert largest >= 65280
