"""Index files: what a start needs to know of a full segment, in a small file next to it.

::

    <directory>/00000001.idx     "QCIDX" 00 00 version, checksum [16 bytes], summary

The checksum is blake2b of the segment's number and size and of the summary. The file is a cache: if it is missing,
damaged or of another segment, the segment is read and the file is written again. So a start reads only the indexes
and the last segment. A change of the summary's contents must change the version.
"""

from __future__ import annotations

import logging
import queue
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from adapters_registry.background import background_thread
from adapters_registry.support.durable import write_whole
from service.errors import StorageFailed
from service.feedback.reading import Entry, Offset
from service.feedback.segments import SegmentLog

log = logging.getLogger(__name__)

SIGNATURE = b"QCIDX\x00\x00\x01"
HEAD_BYTES = len(SIGNATURE) + 16


class Index:
    """The summaries of a log's segments. ``noticed`` is thread-safe; other methods are for the log's owner."""

    def __init__(self, segments: SegmentLog, summarise: Callable[[Iterator[Entry]], bytes], name: str) -> None:
        """``summarise`` gets the records of one segment; it is also called on a thread of the index."""
        self._segments = segments
        self._summarise = summarise
        self._last = segments.numbers[-1]
        self._full: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = background_thread(self._keep_up, f"{name}-index", self._stop)
        self._thread.start()

    def oldest_first(self) -> Iterator[bytes]:
        return map(self._summary, self._segments.numbers)

    def newest_first(self) -> Iterator[bytes]:
        return map(self._summary, reversed(self._segments.numbers))

    def noticed(self, offsets: Sequence[Offset]) -> None:
        """Records were committed at ``offsets``; if they are in a new segment, earlier segments are full."""
        for offset in offsets:
            while self._last < offset.segment:
                self._full.put(self._last)
                self._last += 1

    def close(self) -> None:
        self._stop.set()
        self._full.put(None)
        self._thread.join()

    def _keep_up(self) -> None:
        while not self._stop.is_set() and (number := self._full.get()) is not None:
            try:
                self._summary(number)
            except (StorageFailed, OSError) as error:
                if number in self._segments.numbers:
                    log.warning("a segment is not indexed: %s", error, extra={"segment": number})
            if number not in self._segments.numbers:  # the segment was dropped before its index was written
                self._segments.index_path(number).unlink(missing_ok=True)

    def _summary(self, number: int) -> bytes:
        entries = self._segments.segment(number)
        if number == self._segments.numbers[-1]:
            return self._summarise(entries)
        path = self._segments.index_path(number)
        place = _Place(number, self._segments.size(number))
        found = _read(path, place)
        if found is None:
            found = self._summarise(entries)
            _write(path, place, found)
        return found


class _Place(NamedTuple):
    """The segment of a summary."""

    number: int
    nbytes: int

    def checksum(self, summary: bytes) -> bytes:
        digest = blake2b(struct.pack("<QQ", *self), digest_size=16)
        digest.update(summary)
        return digest.digest()


def _read(path: Path, place: _Place) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    summary = data[HEAD_BYTES:]
    return summary if data[:HEAD_BYTES] == SIGNATURE + place.checksum(summary) else None


def _write(path: Path, place: _Place, summary: bytes) -> None:
    try:
        write_whole(path, [SIGNATURE, place.checksum(summary), summary])
    except OSError as error:
        # The next start reads the segment again.
        log.warning("a segment's index cannot be written", extra={"path": path.name, "error": str(error)})
