"""The newest response records, within bounds, found by tenant and id."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter

from service.errors import InvalidValue, StorageFailed
from service.feedback.commit import Committed, GroupCommit
from service.feedback.disk import Disk
from service.feedback.events import ResponseRecord
from service.feedback.index import Index
from service.feedback.reading import Entry, Offset
from service.feedback.segments import SegmentLog
from service.settings import FeedbackOptions

_RECORD = TypeAdapter(ResponseRecord)

_PLACE = struct.Struct("<16sQQI")
MAX_RECORD_BYTES = 4 << 20
MAX_READ_BYTES = 12 << 20
"""Bound on the records of one read, so that they fit with a batch of events into one frame of the feedback log."""


class ResponseLog:
    """Owns a directory of segments; the oldest are dropped. Methods may be called from any thread.

    The tenant is part of a record's key, so another tenant's id is not found, by the same code path as an unknown id.
    """

    def __init__(
        self, directory: Path, options: FeedbackOptions, stored: Callable[[bytes], None], disk: Disk | None = None
    ) -> None:
        """``stored`` is called with each key once its record can be found, on the commit thread."""
        self._most = options.responses
        self._stored = stored
        self._lock = Lock()
        self._offsets: dict[bytes, Offset] = {}
        """Key → offset, oldest first."""
        self._segments = SegmentLog(
            directory,
            min(options.segment_bytes, max(4096, options.response_bytes // 8)),
            keep_bytes=options.response_bytes,
            disk=disk,
        )
        self._index = Index(self._segments, _summary, "responses")
        try:
            for summary in self._index.oldest_first():
                self._add(*_parsed(summary))
        except BaseException:
            self._index.close()
            self._segments.close()
            raise
        self._commits = GroupCommit(
            self._segments, gather_s=options.gather_s, queue_bytes=options.queue_bytes, name="responses"
        )

    def submit(self, record: ResponseRecord) -> Committed:
        """Store ``record``; done when it is durable and can be found.

        The future raises ``StorageFull`` or ``StorageFailed``. Raises at once ``Overloaded``, and ``InvalidValue`` if
        the record exceeds ``MAX_RECORD_BYTES``.
        """
        line = record.model_dump_json().encode()
        if len(line) > MAX_RECORD_BYTES:
            raise InvalidValue(f"response {record.id} is over {MAX_RECORD_BYTES} bytes: no feedback will find it")
        done = self._commits.submit([line])
        done.add_done_callback(partial(self._committed, response_key(record.tenant, record.id)))
        return done

    def __contains__(self, key: bytes) -> bool:
        return key in self._offsets

    def read(self, keys: Sequence[bytes]) -> dict[bytes, ResponseRecord]:
        """The existing records, by ``response_key``. Reads the disk.

        Raises ``InvalidValue`` if they are larger than one batch of feedback may refer to.
        """
        with self._lock:
            offsets = {key: self._offsets[key] for key in keys if key in self._offsets}
        records: dict[Offset, ResponseRecord] = {}
        nbytes = 0
        for offset, line in self._segments.read_at(offsets.values()):
            nbytes += len(line)
            if nbytes > MAX_READ_BYTES:
                raise InvalidValue("events: they speak of too many and too long responses: send fewer at once")
            records[offset] = _parse(line, offset)
        return {key: records[offset] for key, offset in offsets.items() if offset in records}

    def nbytes(self) -> int:
        return self._segments.nbytes()

    def close(self) -> None:
        """Commit all submissions, then release the directory."""
        self._commits.close()
        self._index.close()
        self._segments.close()

    def _committed(self, key: bytes, done: Committed) -> None:
        if done.exception() is None:
            self._add([key], done.result())
            self._index.noticed(done.result())
            self._stored(key)

    def _add(self, keys: Iterable[bytes], offsets: Iterable[Offset]) -> None:
        first = self._segments.first
        with self._lock:
            self._offsets |= dict(zip(keys, offsets, strict=True))
            for key in list(islice(self._offsets, max(0, len(self._offsets) - self._most))):
                del self._offsets[key]
            while self._offsets and self._offsets[oldest := next(iter(self._offsets))] < first:
                del self._offsets[oldest]


def response_key(tenant: str, response_id: str) -> bytes:
    """The 16-byte key of a tenant's response. Tenants' names contain no zero byte."""
    return blake2b(f"{tenant}\0{response_id}".encode(), digest_size=16).digest()


def _summary(entries: Iterator[Entry]) -> bytes:
    return b"".join(_PLACE.pack(_key_of(entry), *entry.offset) for entry in entries)


def _parsed(summary: bytes) -> tuple[list[bytes], list[Offset]]:
    """Keys and offsets of a segment's records."""
    rows = list(_PLACE.iter_unpack(summary))
    return [row[0] for row in rows], [Offset(*row[1:]) for row in rows]


def _key_of(entry: Entry) -> bytes:
    record = _parse(entry.record, entry.offset)
    return response_key(record.tenant, record.id)


def _parse(line: bytes, offset: Offset) -> ResponseRecord:
    try:
        return _RECORD.validate_json(line, extra="ignore")  # a newer release may write more fields
    except ValueError as error:
        raise StorageFailed(
            f"segment {offset.segment} holds no response record of this release at byte {offset.position}"
        ) from error
