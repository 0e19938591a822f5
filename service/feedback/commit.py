"""Group commit: one fsync for the records of many callers."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from service.errors import InternalError, Overloaded, QuickchangeError, from_failure
from service.feedback import format as layout
from service.feedback.reading import Offset
from service.feedback.segments import SegmentLog
from service.support.counting import Spread

log = logging.getLogger(__name__)

FRAME_BYTES = 256 << 10
"""Size of a frame up to which further callers' records are added. A look-up of a record reads its whole frame, so
larger frames would cost more than the fsyncs that they save."""

COMMIT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Committed = Future[tuple[Offset, ...]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: tuple[bytes, ...]
    nbytes: int
    done: Committed = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class GroupCommit:
    """A thread that commits submissions of all threads in their order.

    The records of a submission are in one frame. While an fsync runs, the next group is collected; with ``gather_s``
    it also waits for further submissions. At most ``queue_bytes`` wait.
    """

    def __init__(self, segments: SegmentLog, *, gather_s: float, queue_bytes: int, name: str) -> None:
        self.commit_s = Spread(COMMIT_S)
        """Seconds from each submission until it was durable."""
        self._segments = segments
        self._gather_s = gather_s
        self._queue_bytes = queue_bytes
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=f"{name}-commit", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[bytes]) -> Committed:
        """The records' offsets once they are durable. Without records: done when all earlier submissions are.

        The future cannot be cancelled; it raises ``StorageFull`` or ``StorageFailed``. Raises ``Overloaded`` at once
        if too many bytes wait for the disk.
        """
        nbytes = sum(len(record) + 1 for record in records)
        assert nbytes <= layout.MAX_BODY_BYTES, "callers bound what they submit"
        waiting = _Waiting(tuple(records), nbytes)
        waiting.done.set_running_or_notify_cancel()
        with self._changed:
            if self._closing:
                raise Overloaded("the feedback log is being closed")
            if self._queued_bytes + nbytes > self._queue_bytes and self._queue:
                raise Overloaded("too much feedback waits for the disk: send it again later")
            self._queue.append(waiting)
            self._queued_bytes += nbytes
            self._changed.notify()
        return waiting.done

    def close(self) -> None:
        """Commit waiting submissions, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            self._commit(group)

    def _next_group(self) -> list[_Waiting]:
        """Waits for submissions; empty if the commit is closed and none are left."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            while self._queue and not self._closing and self._queued_bytes < FRAME_BYTES:
                left_s = self._queue[0].since + self._gather_s - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            return self._take()

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        nbytes = 0
        while self._queue and (not group or nbytes + self._queue[0].nbytes <= FRAME_BYTES):
            waiting = self._queue.popleft()
            nbytes += waiting.nbytes
            group.append(waiting)
        self._queued_bytes -= nbytes
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        """Completes every future of ``group``. No lock is held, since their callbacks may take locks."""
        records = [record for waiting in group for record in waiting.records]
        try:
            offsets = iter(self._segments.commit(records) if records else ())
        except QuickchangeError as error:
            log.error("feedback not stored: %s", error, extra={"records": len(records)}, exc_info=error.__cause__)
            _refuse(group, error)
        except Exception:
            # A defect must not end the thread, because callers would then wait forever.
            log.exception("feedback not stored")
            _refuse(group, InternalError("the feedback could not be stored: internal error"))
        else:
            now = time.monotonic()
            for waiting in group:
                self.commit_s.add(now - waiting.since)
                waiting.done.set_result(tuple(next(offsets) for _ in waiting.records))


def _refuse(group: list[_Waiting], error: QuickchangeError) -> None:
    """Each caller gets a separate exception."""
    for waiting in group:
        waiting.done.set_exception(from_failure(error.failure()))
