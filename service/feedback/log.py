"""The feedback log: events, without duplicates, and the responses that they are about."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from service.errors import IdempotencyConflict, InvalidValue, StorageFailed
from service.feedback import format as layout
from service.feedback.commit import Committed, GroupCommit
from service.feedback.disk import Disk
from service.feedback.events import ENTRY, FeedbackEvent, LogEntry, ResponseRecord
from service.feedback.index import Index
from service.feedback.reading import START, Entry, Offset
from service.feedback.said import fingerprint
from service.feedback.segments import SegmentLog
from service.feedback.wire import field_path
from service.settings import FeedbackOptions
from service.support.counting import Buckets


class Receipt(NamedTuple):
    """The receipt of a durable event."""

    id: str
    offset: Offset
    duplicate: bool
    """Whether it was sent before; id and offset are then those of the earlier event."""


class Stored(NamedTuple):
    """One line of the log."""

    offset: Offset
    entry: LogEntry


Receipts = Future[tuple[Receipt, ...]]


@dataclass(slots=True, eq=False)
class _Sending:
    """The first submission of an event; later submissions of the same event share it."""

    fingerprint: bytes
    offset: Offset | None = None
    """None until it is durable."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """One submission that is being committed."""

    events: tuple[FeedbackEvent, ...]
    sendings: tuple[_Sending, ...]
    """One per event, of this batch or of an earlier one."""
    fresh: dict[str, _Sending]
    """New events of this batch by id, in the order of the frame, after ``copied``."""
    duplicates: tuple[bool, ...]
    copied: tuple[str, ...]
    """Ids of the responses in the frame."""
    receipts: Receipts


class FeedbackLog:
    """Owns a directory of segments. Methods may be called from any thread.

    The latest ``keys`` idempotency keys are known, also after a restart. An older event that is sent again is stored
    again, with the same id, which is derived from the key. So consumers that count events must count ids.
    """

    def __init__(self, directory: Path, options: FeedbackOptions, disk: Disk | None = None) -> None:
        self._keys = options.keys
        self._segments = SegmentLog(directory, options.segment_bytes, disk=disk)
        # Guards the following fields; never held while waiting for the disk. Reentrant, because the callback of a
        # completed commit runs at once.
        self._lock = RLock()
        self._flying: dict[str, _Sending] = {}
        self._seen: dict[bytes, bytes] = {}
        """Id of a keyed event to fingerprint and offset, packed; oldest first."""
        self._copied: dict[str, None] = {}
        """Responses that are known to be in the log. One that is missing here is only copied again."""
        self._index = Index(self._segments, _summary, "feedback")
        try:
            self._remember_latest()
        except BaseException:
            self._index.close()
            self._segments.close()
            raise
        self._commits = GroupCommit(self._segments, gather_s=0.0, queue_bytes=options.queue_bytes, name="feedback")

    def submit(
        self, events: Sequence[FeedbackEvent], responses: Mapping[str, ResponseRecord] | None = None
    ) -> Receipts:
        """The receipts of ``events`` once all are durable; they are written in one frame, all or none.

        ``responses`` (by id) are those that the events are about. The future raises ``StorageFull`` or
        ``StorageFailed``. Raises at once ``IdempotencyConflict`` if a key was used for other contents,
        ``Overloaded``, and ``InvalidValue`` if the batch is too large for one frame.
        """
        with self._lock:
            batch = self._plan(events, responses or {})
            fresh = {event.id: event for event in events if event.id in batch.fresh}
            lines = [_response_line(responses[key]) for key in batch.copied] if responses else []
            lines += [_event_line(fresh[key]) for key in batch.fresh]
            if sum(len(line) + 1 for line in lines) > layout.MAX_BODY_BYTES:
                raise InvalidValue("events: too many bytes with the responses they speak of: send fewer at once")
            done = self._commits.submit(lines)
            self._flying |= batch.fresh
            done.add_done_callback(partial(self._committed, batch))
        return batch.receipts

    def append(self, event: FeedbackEvent) -> Offset:
        """Append one event and wait until it is durable. Raises as ``submit`` and its future do."""
        return self.submit([event]).result()[0].offset

    def read(self, since: Offset = START) -> Iterator[Stored]:
        """Every durable line from ``since`` on, oldest first."""
        for offset, record in self._segments.read(since):
            yield Stored(offset, parse_entry(record, offset))

    def has(self, since: Offset) -> bool:
        """Whether ``read`` can begin there; False for an offset that this log never returned."""
        return self._segments.has_frame(since)

    def nbytes(self) -> int:
        return self._segments.nbytes()

    def commit_s(self) -> Buckets:
        """Seconds from each submission until it was durable."""
        return self._commits.commit_s.seen()

    def close(self) -> None:
        """Commit all submissions, then release the directory."""
        self._commits.close()
        self._index.close()
        self._segments.close()

    # -- each event once --------------------------------------------------------------------------------------

    def _plan(self, events: Sequence[FeedbackEvent], responses: Mapping[str, ResponseRecord]) -> _Batch:
        """Which of ``events`` and ``responses`` are new; changes nothing. Raises ``IdempotencyConflict``."""
        sendings: list[_Sending] = []
        duplicates: list[bool] = []
        fresh: dict[str, _Sending] = {}
        for i, event in enumerate(events):
            said = fingerprint(event.said)
            earlier = self._earlier(event.id) or fresh.get(event.id)
            if earlier is not None and earlier.fingerprint != said:
                param = field_path(i, len(events), "idempotency_key")
                raise IdempotencyConflict(f"{param}: was used before for another event: take a new one", param=param)
            if earlier is None:
                fresh[event.id] = _Sending(said)
            sendings.append(earlier or fresh[event.id])
            duplicates.append(earlier is not None)
        copied = tuple(key for key in responses if fresh and key not in self._copied)
        receipts: Receipts = Future()
        receipts.set_running_or_notify_cancel()
        return _Batch(tuple(events), tuple(sendings), fresh, tuple(duplicates), copied, receipts)

    def _earlier(self, event_id: str) -> _Sending | None:
        packed = self._seen.get(_key(event_id))
        return _unpacked(packed) if packed is not None else self._flying.get(event_id)

    def _committed(self, batch: _Batch, done: Committed) -> None:
        """Called in the order of the submissions, so the first submission of a duplicate is already decided."""
        error = done.exception()
        with self._lock:
            for event_id in batch.fresh:
                del self._flying[event_id]
            if error is None:
                self._remember(batch, done.result())
                self._index.noticed(done.result())
        if error is None and any(sending.offset is None for sending in batch.sendings):
            error = StorageFailed("an event was sent before and could not be stored then: send it again")
        if error is not None:
            batch.receipts.set_exception(error)
        else:
            batch.receipts.set_result(_receipts(batch))

    def _remember(self, batch: _Batch, offsets: tuple[Offset, ...]) -> None:
        for response_id in batch.copied:
            self._copied[response_id] = None
        for sending, offset in zip(batch.fresh.values(), offsets[len(batch.copied) :], strict=True):
            sending.offset = offset
        for event, sending in zip(batch.events, batch.sendings, strict=True):
            if event.said.idempotency_key is not None and event.id in batch.fresh:
                self._seen[_key(event.id)] = _packed(sending)
        _forget_oldest(self._seen, self._keys)
        _forget_oldest(self._copied, self._keys)

    def _remember_latest(self) -> None:
        """Fill ``_seen`` and ``_copied`` from the newest segments, up to their bounds."""
        for summary in self._index.newest_first():
            copied, keyed = _parsed(summary)
            self._copied |= dict.fromkeys(copied)
            self._seen = keyed | self._seen  # older ones first
            _forget_oldest(self._copied, self._keys)
            if len(self._seen) >= self._keys:
                break
        _forget_oldest(self._seen, self._keys)


def parse_entry(record: bytes, offset: Offset) -> LogEntry:
    """Parses a line of the log. Raises ``StorageFailed`` if the record is something else."""
    try:
        return ENTRY.validate_json(record, extra="ignore")  # a newer release may write more fields
    except ValueError as error:
        raise StorageFailed(
            f"segment {offset.segment} holds no feedback of this release at byte {offset.position}"
        ) from error


def _summary(entries: Iterator[Entry]) -> bytes:
    """A segment's summary: key, fingerprint and offset of each keyed event, then the ids of the responses."""
    copied: list[bytes] = []
    keyed: dict[bytes, bytes] = {}
    for offset, record in entries:
        entry = parse_entry(record, offset)
        if entry.response is not None:
            copied.append(entry.response.id.encode())
        elif entry.event is not None and entry.event.said.idempotency_key is not None:
            sending = _Sending(fingerprint(entry.event.said), offset)
            keyed.setdefault(_key(entry.event.id), _packed(sending))
    rows = b"".join(key + packed for key, packed in keyed.items())
    return len(keyed).to_bytes(4, "little") + rows + b"\n".join(copied)


def _parsed(summary: bytes) -> tuple[list[str], dict[bytes, bytes]]:
    """From a summary: the ids of the segment's responses, and its keyed events in the form of ``_seen``."""
    row = KEY_BYTES + _PACKED.size
    end = 4 + row * int.from_bytes(summary[:4], "little")
    rows = (summary[at : at + row] for at in range(4, end, row))
    return summary[end:].decode().split("\n") if summary[end:] else [], {
        one[:KEY_BYTES]: one[KEY_BYTES:] for one in rows
    }


def _receipts(batch: _Batch) -> tuple[Receipt, ...]:
    told = []
    for event, sending, duplicate in zip(batch.events, batch.sendings, batch.duplicates, strict=True):
        assert sending.offset is not None, "told before it was durable"
        told.append(Receipt(event.id, sending.offset, duplicate))
    return tuple(told)


def _event_line(event: FeedbackEvent) -> bytes:
    return b'{"event":' + event.model_dump_json().encode() + b"}"


def _response_line(record: ResponseRecord) -> bytes:
    return b'{"response":' + record.model_dump_json().encode() + b"}"


_PACKED = struct.Struct("<8sQQI")
KEY_BYTES = 16


def _key(event_id: str) -> bytes:
    return bytes.fromhex(event_id.removeprefix("fb-"))


def _packed(sending: _Sending) -> bytes:
    assert sending.offset is not None, "only what is durable is remembered"
    return _PACKED.pack(sending.fingerprint, *sending.offset)


def _unpacked(packed: bytes) -> _Sending:
    said, segment, position, line = _PACKED.unpack(packed)
    return _Sending(said, Offset(segment, position, line))


def _forget_oldest(remembered: dict[Any, Any], most: int) -> None:
    for key in list(islice(remembered, max(0, len(remembered) - most))):
        del remembered[key]
