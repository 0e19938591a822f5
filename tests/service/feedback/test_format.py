"""Frames: what is written is read, and nothing else passes for a frame."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feedback import format as layout

RECORDS = st.lists(st.text(max_size=40).map(lambda text: json.dumps(text).encode()), min_size=1, max_size=5)


@given(RECORDS, st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_round_trip(records: list[bytes], segment: int, position: int) -> None:
    frame = layout.encode(records, segment, position)
    assert layout.body_bytes(frame) == len(frame) - layout.HEAD_BYTES
    assert layout.decode(frame, segment, position) == records


@given(RECORDS, st.data())
def test_every_flipped_bit_is_found(records: list[bytes], data: st.DataObject) -> None:
    frame = bytearray(layout.encode(records, 1, 8))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(layout.InvalidFrame):
        layout.decode(bytes(frame), 1, 8)


@given(RECORDS, st.data())
def test_no_beginning_of_a_frame_is_one(records: list[bytes], data: st.DataObject) -> None:
    frame = layout.encode(records, 1, 8)
    with pytest.raises(layout.InvalidFrame):
        layout.decode(frame[: data.draw(st.integers(0, len(frame) - 1))], 1, 8)


@pytest.mark.parametrize(("segment", "position"), [(2, 8), (1, 9)])
def test_a_frame_is_valid_in_its_place_only(segment: int, position: int) -> None:
    frame = layout.encode([b"{}"], 1, 8)
    with pytest.raises(layout.InvalidFrame):
        layout.decode(frame, segment, position)


def test_frames_are_found_after_garbage() -> None:
    frame = layout.encode([b"{}"], 1, 100)
    assert layout.holds_frame(b"QCFR garbage " + frame + b"more", 1, 87)
    assert not layout.holds_frame(b"QCFR garbage " + frame[:-1], 1, 87)
    assert not layout.holds_frame(b"QCFR garbage " + frame, 1, 88)
