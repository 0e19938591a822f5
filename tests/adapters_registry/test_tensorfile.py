from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_registry.errors import InvalidTensors, NotFinite
from adapters_registry.tensorfile import HEADER_BYTES, TENSORS, all_zero, read_header
from tests.adapters_registry.artifacts import bf16, pack

ONE = np.ones((2, 3), np.float32)


def read(data: bytes):
    return read_header(io.BytesIO(data), len(data))


def zero(data: bytes) -> frozenset[str]:
    return all_zero(io.BytesIO(data), read(data))


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
        (pack({"a": ONE})[:-1], "header"),
        (pack({"a": ONE}) + b"\0", "header"),
        (pack({"a": ONE.astype(np.float64)}), "a"),
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


def test_all_zero_counts_negative_zero():
    arrays = {"zero": ONE * 0, "minus": ONE * -0.0, "tiny": np.array([0, 1e-45], np.float32), "half": bf16(ONE * 0)}
    assert zero(pack(arrays)) == {"zero", "minus", "half"}


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("convert", [np.float32, np.float16, bf16])
def test_nan_and_infinity_are_found(value, convert):
    bad = np.ones(5000, np.float32)
    bad[4321] = value
    array = bf16(bad) if convert is bf16 else bad.astype(convert)
    with pytest.raises(NotFinite) as caught:
        zero(pack({"good": ONE, "bad": array}))
    assert caught.value.param == "bad"


@pytest.mark.parametrize("convert", [np.float32, np.float16, bf16])
def test_the_largest_numbers_pass(convert):
    top = np.full(3, 65504.0, np.float32)
    assert zero(pack({"a": bf16(top) if convert is bf16 else top.astype(convert)})) == frozenset()
