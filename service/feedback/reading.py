"""Reads segments, and distinguishes an incomplete tail, which is cut, from damage, which is an error.

::

    <directory>/00000001.seg  00000002.seg  …      numbered without gaps; only the last one grows
    <directory>/owner.lock                         held by the one process that writes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from service.errors import StorageFailed
from service.feedback import format as layout
from service.feedback.disk import storage_errors

_NAME = re.compile(r"([0-9]{8,})\.seg")


class Offset(NamedTuple):
    """The place of a record. Offsets increase in the order of the commits."""

    segment: int
    position: int
    """Position of the record's frame, in bytes."""
    line: int
    """Index of the record within its frame, from 0."""


START = Offset(0, 0, 0)
"""The offset before every record."""


class Entry(NamedTuple):
    """One record as it was appended."""

    offset: Offset
    record: bytes

    @property
    def next(self) -> Offset:
        """The offset from which reading continues after this record."""
        return self.offset._replace(line=self.offset.line + 1)


class Frame(NamedTuple):
    """One valid frame."""

    position: int
    end: int
    records: list[bytes]


class TornTail(Exception):
    """The bytes from ``position`` on are no frame, and no frame follows."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08}.seg"


def segment_numbers(directory: Path) -> range:
    """The existing segments. Raises ``StorageFailed`` if one is missing in between."""
    found = sorted(int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name)))
    if not found:
        return range(0)
    numbers = range(found[0], found[-1] + 1)
    missing = set(numbers) - set(found)
    if missing:
        raise StorageFailed(f"{segment_path(directory, min(missing)).name} is missing from the log: restore it")
    return numbers


def frames(path: Path, number: int, start: int = 0, end: int | None = None) -> Iterator[Frame]:
    """The frames from byte ``start`` on, in order.

    Raises ``TornTail`` if the file ends within a frame; ``StorageFailed`` names the file and offset of damage.
    """
    with path.open("rb") as file:
        size = path.stat().st_size if end is None else end
        position = start or _past_header(file, path)
        file.seek(position)
        while position < size:
            try:
                frame = _read_frame(file, number, position)
            except layout.InvalidFrame as invalid:
                # Only up to `size`: frames that another process appended since do not show that this one is damaged.
                file.seek(position + 1)
                if layout.holds_frame(file.read(size - position - 1), number, position + 1):
                    raise damaged(path, position, str(invalid)) from invalid
                raise TornTail(position) from invalid
            yield frame
            position = frame.end


def read_frame(path: Path, number: int, position: int) -> list[bytes]:
    """The records of one frame that is known to exist."""
    with path.open("rb") as file:
        file.seek(position)
        try:
            return _read_frame(file, number, position).records
        except layout.InvalidFrame as invalid:
            raise damaged(path, position, str(invalid)) from invalid


def read_directory(directory: Path, since: Offset = START) -> Iterator[Entry]:
    """Every record from ``since`` on, also while another process appends; stops before an incomplete tail."""
    with storage_errors("reading the feedback log"):
        numbers = segment_numbers(directory)
        for number in numbers:
            path = segment_path(directory, number)
            try:
                yield from _entries(path, number, since, None)
            except TornTail as torn:
                if number != numbers[-1]:
                    raise damaged(path, torn.position, "it is cut short") from torn


def read_segment(directory: Path, number: int, since: Offset, end: int) -> Iterator[Entry]:
    """The records of a segment that is complete up to byte ``end``."""
    path = segment_path(directory, number)
    try:
        yield from _entries(path, number, since, end)
    except TornTail as torn:
        raise damaged(path, torn.position, "it is cut short") from torn


def damaged(path: Path, position: int, reason: str) -> StorageFailed:
    return StorageFailed(f"{path.name} is damaged at byte {position}: {reason}; restore it from a copy")


def _entries(path: Path, number: int, since: Offset, end: int | None) -> Iterator[Entry]:
    if number < since.segment:
        return
    start = since.position if number == since.segment else 0
    for frame in frames(path, number, start, end):
        for line, record in enumerate(frame.records):
            offset = Offset(number, frame.position, line)
            if offset >= since:
                yield Entry(offset, record)


def _past_header(file: BinaryIO, path: Path) -> int:
    header = file.read(len(layout.SEGMENT_HEADER))
    if header != layout.SEGMENT_HEADER:
        if header.startswith(layout.SIGNATURE) and len(header) == len(layout.SEGMENT_HEADER):
            raise StorageFailed(f"{path.name} has format {header[-1]} and this release reads {layout.VERSION}")
        if len(file.read(1)):
            raise damaged(path, 0, "it does not begin as a segment does")
        raise TornTail(0)
    return len(header)


def _read_frame(file: BinaryIO, number: int, position: int) -> Frame:
    head = file.read(layout.HEAD_BYTES)
    frame = head + file.read(layout.body_bytes(head))
    return Frame(position, position + len(frame), layout.decode(frame, number, position))
