"""The byte format of records in a segment file; opens no file.

::

    segment   +----------+-------+-------+-----+
              |  header  | frame | frame | ... |
              +----------+-------+-------+-----+
    header    "QCLOG" 00 00 and the format's version, one byte
    frame     +---------+---------------+---------------+------------------+
              | "QCFR"  | length u32 LE | blake2b, 16 B | body, `length` B |
              +---------+---------------+---------------+------------------+
    body      record ("\\n" record)*, each one line of JSON in UTF-8

A frame has all records that one fsync made durable. The next frame is written only after this fsync has succeeded, so
after a crash at most the last frame is incomplete, even if the disk wrote pages out of order. The checksum covers the
segment's number and the position, so a frame is valid only in its place.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

VERSION = 1
SIGNATURE = b"QCLOG\x00\x00"
SEGMENT_HEADER = SIGNATURE + bytes([VERSION])

MAGIC = b"QCFR"
MAX_BODY_BYTES = (16 << 20) - 1
"""Bound on the length of a frame's body. So the last byte of a length is zero, which JSON cannot contain."""

_HEAD = struct.Struct("<4sI16s")
_PLACE = struct.Struct("<QQI")
HEAD_BYTES = _HEAD.size


class InvalidFrame(Exception):
    """The bytes are not a complete frame."""


def encode(records: Sequence[bytes], segment: int, position: int) -> bytes:
    """The frame of ``records`` for byte ``position`` of segment number ``segment``."""
    assert records, "a frame holds at least one record"
    assert not any(b"\n" in record for record in records), "a record is one line"
    body = b"\n".join(records)
    assert len(body) <= MAX_BODY_BYTES, "the frame is larger than readers accept"
    return _HEAD.pack(MAGIC, len(body), _checksum(body, segment, position)) + body


def body_bytes(head: bytes) -> int:
    """The length of the body according to ``head``. Raises ``InvalidFrame``."""
    if len(head) < HEAD_BYTES:
        raise InvalidFrame("it ends within the frame's head")
    magic, length, _ = _HEAD.unpack_from(head)
    if magic != MAGIC or not 0 < length <= MAX_BODY_BYTES:
        raise InvalidFrame("it does not begin as a frame does")
    return int(length)


def decode(frame: bytes, segment: int, position: int) -> list[bytes]:
    """The records of one ``frame`` from this place. Raises ``InvalidFrame``."""
    length = body_bytes(frame[:HEAD_BYTES])
    body = frame[HEAD_BYTES:]
    if len(body) != length:
        raise InvalidFrame("it ends within the frame's body")
    if _HEAD.unpack_from(frame)[2] != _checksum(body, segment, position):
        raise InvalidFrame("its checksum does not match")
    return body.split(b"\n")


def holds_frame(data: bytes, segment: int, position: int) -> bool:
    """Whether a valid frame begins anywhere in ``data``, which was read from ``position``.

    Invalid bytes before a frame are damage; without a later frame they are the tail of an interrupted write. Text
    from a client cannot look like a frame, because a length ends with a zero byte.
    """
    at = data.find(MAGIC)
    while at >= 0:
        try:
            end = at + HEAD_BYTES + body_bytes(data[at : at + HEAD_BYTES])
            decode(data[at:end], segment, position + at)
        except InvalidFrame:
            at = data.find(MAGIC, at + 1)
        else:
            return True
    return False


def _checksum(body: bytes, segment: int, position: int) -> bytes:
    digest = blake2b(_PLACE.pack(segment, position, len(body)), digest_size=16)
    digest.update(body)
    return digest.digest()
