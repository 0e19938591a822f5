"""The only writer of a directory of segments: commits groups of records durably, all or none."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from adapters_registry.support.durable import sync_directory
from adapters_registry.support.lock import FileLock, Held
from service.errors import StorageFailed, StorageInUse
from service.feedback import format as layout
from service.feedback.disk import Disk, storage_errors
from service.feedback.reading import (
    START,
    Entry,
    Offset,
    TornTail,
    frames,
    read_frame,
    read_segment,
    segment_numbers,
    segment_path,
)

log = logging.getLogger(__name__)


class SegmentLog:
    """Owns ``directory`` until it is closed. ``commit`` belongs to one thread; reads may run in others.

    The bytes of a failed commit are cut off at once or before the next commit. ``keep_bytes`` bounds the whole log by
    dropping its oldest segments; None: no bound.
    """

    def __init__(
        self, directory: Path, segment_bytes: int, *, keep_bytes: int | None = None, disk: Disk | None = None
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        self._disk = disk or Disk()
        self._file = -1
        self._first = 1
        self._tail = (0, 0)
        """The last segment and the end of its last durable frame; assigned as one value, for concurrent readers."""
        self._dirty = False
        with storage_errors("opening the feedback log"):
            _make_durably(directory)
            self._lock = _own(directory)
            try:
                self._open()
            except BaseException:
                self._lock.release()
                raise

    @property
    def first(self) -> Offset:
        """The offset before the oldest record that is kept."""
        return Offset(self._first, 0, 0)

    def nbytes(self) -> int:
        """Durable bytes of the kept segments; reads the size of each file."""
        total = 0
        for number in range(self._first, self._tail[0] + 1):
            with suppress(FileNotFoundError):  # dropped meanwhile
                total += self.size(number)
        return total

    def commit(self, records: Sequence[bytes]) -> tuple[Offset, ...]:
        """Append ``records``, each one line, as one frame; they are durable on return.

        If it raises ``StorageFull`` or ``StorageFailed``, none of them is stored, and it may be called again.
        """
        with storage_errors("writing the feedback log"):
            if self._dirty:
                self._cut(self._tail[1])
            if self._tail[1] >= self._segment_bytes:
                self._begin_segment(self._tail[0] + 1)
            number, position = self._tail
            frame = layout.encode(records, number, position)
            self._dirty = True
            try:
                self._disk.write(self._file, frame, position)
                self._disk.sync(self._file)
            except OSError:
                with suppress(OSError):  # the first error is raised; the next commit tries this again
                    self._cut(position)
                raise
            self._dirty = False
            self._tail = (number, position + len(frame))
        return tuple(Offset(number, position, line) for line in range(len(records)))

    def read(self, since: Offset = START) -> Iterator[Entry]:
        """Every durable record from ``since`` on, oldest first."""
        last, end = self._tail
        with storage_errors("reading the feedback log"):
            for number in range(max(self._first, since.segment), last + 1):
                size = end if number == last else self.size(number)
                yield from read_segment(self._directory, number, since, size)

    def has_frame(self, offset: Offset) -> bool:
        """Whether a durable frame begins there, or it is before all records: ``read`` can begin only there."""
        if offset == START:
            return True
        if not self._first <= offset.segment <= self._tail[0] or offset.position >= self.size(offset.segment):
            return False
        try:
            read_frame(segment_path(self._directory, offset.segment), offset.segment, offset.position)
        except StorageFailed:
            return False
        return True

    @property
    def numbers(self) -> range:
        """The kept segments; only the last one grows."""
        return range(self._first, self._tail[0] + 1)

    def segment(self, number: int) -> Iterator[Entry]:
        """The records of one segment, in their order."""
        with storage_errors("reading the feedback log"):
            yield from read_segment(self._directory, number, START, self.size(number))

    def index_path(self, number: int) -> Path:
        """The path of the segment's index (``index.py``), which is deleted with the segment."""
        return segment_path(self._directory, number).with_suffix(".idx")

    def read_at(self, offsets: Iterable[Offset]) -> Iterator[Entry]:
        """The records at ``offsets``, in order, without those of dropped segments; each frame is read once."""
        with storage_errors("reading the feedback log"):
            for (number, position), group in groupby(sorted(set(offsets)), key=lambda offset: offset[:2]):
                try:
                    records = read_frame(segment_path(self._directory, number), number, position)
                except FileNotFoundError:
                    continue
                for offset in group:
                    yield Entry(offset, records[offset.line])

    def close(self) -> None:
        os.close(self._file)
        self._lock.release()

    def __repr__(self) -> str:
        """``<SegmentLog feedback: segments 1–3, 1834 bytes in the last>``"""
        number, position = self._tail
        return f"<SegmentLog {self._directory.name}: segments {self._first}–{number}, {position} bytes in the last>"

    def size(self, number: int) -> int:
        """Bytes of the segment that are durable."""
        last, end = self._tail
        return end if number == last else segment_path(self._directory, number).stat().st_size

    # -- opening ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        numbers = segment_numbers(self._directory)
        if not numbers:
            self._begin_segment(1)
            return
        self._first = numbers[0]
        number = numbers[-1]
        path = segment_path(self._directory, number)
        end, torn = self._last_frame_end(path, number)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._tail = (number, end)
            if torn:
                log.warning(
                    "incomplete record at the end of the log removed", extra={"segment": path.name, "position": end}
                )
                self._cut(end)
            # Frames of a killed process may not be on disk yet; they count as durable from here on.
            self._disk.sync(self._file)
            self._disk.sync_directory(self._directory)
        except BaseException:
            os.close(self._file)
            raise

    def _last_frame_end(self, path: Path, number: int) -> tuple[int, bool]:
        """The end of the last complete frame, and whether bytes follow that must be cut."""
        end = 0
        try:
            for frame in frames(path, number):
                end = frame.end
        except TornTail as torn:
            return torn.position, True
        return end or len(layout.SEGMENT_HEADER), False

    # -- writing ----------------------------------------------------------------------------------------------

    def _cut(self, position: int) -> None:
        """Drop everything from ``position`` on, durably, so that it does not reappear after a power loss.

        A segment that becomes empty, because its header was incomplete, is begun again.
        """
        self._disk.truncate(self._file, position)
        if position == 0:
            self._disk.write(self._file, layout.SEGMENT_HEADER, 0)
            self._tail = (self._tail[0], len(layout.SEGMENT_HEADER))
        self._disk.sync(self._file)
        self._dirty = False

    def _begin_segment(self, number: int) -> None:
        """If this fails, the log is unchanged; the next attempt empties the file that may be left."""
        path = segment_path(self._directory, number)
        file = self._disk.create(path)
        try:
            self._disk.write(file, layout.SEGMENT_HEADER, 0)
            self._disk.sync(file)
            self._disk.sync_directory(self._directory)
        except BaseException:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._tail = (number, len(layout.SEGMENT_HEADER))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop old segments beyond the bound. After a failure, the next segment tries again."""
        if self._keep_bytes is None:
            return
        with suppress(OSError):
            paths = {number: segment_path(self._directory, number) for number in range(self._first, self._tail[0])}
            sizes = {number: path.stat().st_size for number, path in paths.items()}
            excess = sum(sizes.values()) - self._keep_bytes
            for number, size in sizes.items():
                if excess <= 0:
                    break
                self._disk.unlink(paths[number])
                self.index_path(number).unlink(missing_ok=True)
                self._first = number + 1
                excess -= size
            self._disk.sync_directory(self._directory)


def _own(directory: Path) -> FileLock:
    try:
        return FileLock(directory / "owner.lock")
    except Held as error:
        raise StorageInUse("another process owns the feedback log: stop it, or set another data_dir") from error


def _make_durably(directory: Path) -> None:
    """Create the directory and its parents, each made durable by an fsync of its parent directory."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)
