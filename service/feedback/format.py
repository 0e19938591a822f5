"""How records lie in a segment file, as bytes; no file is opened here.

::

    segment   +----------+-------+-------+-----+
              |  header  | frame | frame | ... |
              +----------+-------+-------+-----+
    header    "QCLOG" 00 00 and the format's version, one byte
    frame     +---------+---------------+---------------+------------------+
              | "QCFR"  | length u32 LE | blake2b, 16 B | body, `length` B |
              +---------+---------------+---------------+------------------+
    body      record ("\\n" record)*, each one line of JSON in UTF-8

A frame is what one fsync made durable, of however many callers. The next is not written before that fsync has
succeeded, so after a crash at most the last frame is torn, even where a disk wrote its pages out of order. The
checksum covers segment number and position too: a frame is valid in its place only.
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
"""No frame is larger: what claims to be is no frame. So the length's last byte is zero, which no JSON holds."""

_HEAD = struct.Struct("<4sI16s")
_PLACE = struct.Struct("<QQI")
HEAD_BYTES = _HEAD.size


class InvalidFrame(Exception):
    """There is no whole frame here."""


def encode(records: Sequence[bytes], segment: int, position: int) -> bytes:
    """One frame of ``records``, to be written at byte ``position`` of segment number ``segment``."""
    assert records, "a frame holds at least one record"
    assert not any(b"\n" in record for record in records), "a record is one line"
    body = b"\n".join(records)
    assert len(body) <= MAX_BODY_BYTES, "the frame is larger than readers accept"
    return _HEAD.pack(MAGIC, len(body), _checksum(body, segment, position)) + body


def body_bytes(head: bytes) -> int:
    """How long the body is that ``head`` announces. Raises ``InvalidFrame``."""
    if len(head) < HEAD_BYTES:
        raise InvalidFrame("it ends within the frame's head")
    magic, length, _ = _HEAD.unpack_from(head)
    if magic != MAGIC or not 0 < length <= MAX_BODY_BYTES:
        raise InvalidFrame("it does not begin as a frame does")
    return int(length)


def decode(frame: bytes, segment: int, position: int) -> list[bytes]:
    """The records of exactly one ``frame`` that was found there. Raises ``InvalidFrame``."""
    length = body_bytes(frame[:HEAD_BYTES])
    body = frame[HEAD_BYTES:]
    if len(body) != length:
        raise InvalidFrame("it ends within the frame's body")
    if _HEAD.unpack_from(frame)[2] != _checksum(body, segment, position):
        raise InvalidFrame("its checksum does not match")
    return body.split(b"\n")


def holds_frame(data: bytes, segment: int, position: int) -> bool:
    """Whether a valid frame begins anywhere in ``data``, which was found at ``position``.

    Where one follows invalid bytes, those are damage; where none does, they are a tail that was being written.
    Text that a client sent cannot pass for a frame: the length ends with a zero byte.
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
