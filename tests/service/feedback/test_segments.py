"""Segments on a disk that tears, fails, fills up and is damaged."""

from __future__ import annotations

import resource
import shutil
import signal
from pathlib import Path

import pytest

from service.errors import QuickchangeError, StorageFailed, StorageFull, StorageInUse
from service.feedback import format as layout
from service.feedback.reading import START, Offset, read_directory, segment_numbers, segment_path
from service.feedback.segments import SegmentLog
from tests.service.feedback.examples import BROKEN, FULL, FailingDisk, UnsyncedDisk


def lines(log: SegmentLog, since: Offset = START) -> list[bytes]:
    return [entry.record for entry in log.read(since)]


def text(number: int) -> bytes:
    return b'{"record":%d,"padding":"%s"}' % (number, b"x" * 40)


def test_read_back_also_after_a_restart_and_across_segments(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "deep" / "log", 200)
    offsets = [offset for i in range(20) for offset in log.commit([text(2 * i), text(2 * i + 1)])]
    assert offsets == sorted(set(offsets))
    wanted = [text(i) for i in range(40)]
    assert lines(log) == wanted
    log.close()
    again = SegmentLog(tmp_path / "deep" / "log", 200)
    assert repr(again).startswith("<SegmentLog log: segments 1–")
    assert lines(again) == wanted
    for i, offset in enumerate(offsets):
        assert lines(again, offset) == wanted[i:]
        assert [entry.record for entry in again.read_at([offset])] == [wanted[i]]
    assert [entry.record for entry in again.read_at(reversed(offsets))] == wanted
    assert [entry.record for number in again.numbers for entry in again.segment(number)] == wanted
    again.close()


def test_entries_say_where_to_read_on(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 4096)
    log.commit([b"1", b"2"])
    log.commit([b"3"])
    seen, since = [], START
    for entry in log.read():
        seen.append(entry.record)
        since = entry.next
        assert lines(log, since) == [b"1", b"2", b"3"][len(seen) :]
    log.commit([b"4"])
    assert lines(log, since) == [b"4"]
    log.close()


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A log of three frames in one segment."""
    log = SegmentLog(tmp_path / "three", 4096)
    for records in ([b"1"], [b"2", b"2b"], [b"3"]):
        log.commit(records)
    log.close()
    return tmp_path / "three"


def test_a_tail_torn_at_any_byte_is_cut_to_the_last_whole_frame(three: Path, tmp_path: Path) -> None:
    whole = segment_path(three, 1).read_bytes()
    head = len(layout.SEGMENT_HEADER)
    ends = [head]
    for records in ([b"1"], [b"2", b"2b"], [b"3"]):
        ends.append(ends[-1] + layout.HEAD_BYTES + len(b"\n".join(records)))
    assert ends[-1] == len(whole)
    for size in range(len(whole) + 1):
        for tail in (b"", b"\0" * 50, b"QCFR" + b"\xff" * 50):
            torn = tmp_path / f"torn-{size}-{tail[:1].hex()}"
            shutil.copytree(three, torn)
            segment_path(torn, 1).write_bytes(whole[:size] + tail)
            if tail and size < head:
                continue  # no crash leaves this: see test_damage
            kept = [b"1", b"2", b"2b", b"3"][: [0, 1, 3, 4][sum(end <= size for end in ends[1:])]]
            assert [entry.record for entry in read_directory(torn)] == kept, "a reader stops before it"
            log = SegmentLog(torn, 4096, disk=UnsyncedDisk())
            assert lines(log) == kept
            log.commit([b"next"])
            log.close()
            log = SegmentLog(torn, 4096, disk=UnsyncedDisk())
            assert lines(log) == [*kept, b"next"]
            log.close()


def test_a_damaged_frame_in_the_middle_is_an_error_at_every_byte(three: Path) -> None:
    path = segment_path(three, 1)
    whole = path.read_bytes()
    last = len(whole) - layout.HEAD_BYTES - 1
    for at in range(len(layout.SEGMENT_HEADER), last):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(StorageFailed, match=r"00000001\.seg is damaged at byte \d+"):
            SegmentLog(three, 4096)
        with pytest.raises(StorageFailed, match="damaged"):
            list(read_directory(three))
    path.write_bytes(whole)
    SegmentLog(three, 4096).close()


def test_a_torn_header_begins_anew_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    for size in range(len(layout.SEGMENT_HEADER)):
        log = SegmentLog(tmp_path / str(size), 4096)
        log.close()
        segment_path(tmp_path / str(size), 1).write_bytes(layout.SEGMENT_HEADER[:size])
        log = SegmentLog(tmp_path / str(size), 4096)
        log.commit([b"1"])
        log.close()
        assert [entry.record for entry in read_directory(tmp_path / str(size))] == [b"1"]
    for content, told in [
        (layout.SIGNATURE + b"\x09", "has format 9 and this release reads 1"),
        (b"something else entirely", "is damaged at byte 0"),
    ]:
        segment_path(tmp_path / "0", 1).write_bytes(content)
        with pytest.raises(StorageFailed, match=told):
            SegmentLog(tmp_path / "0", 4096)


def test_an_earlier_segment_may_be_neither_torn_nor_missing(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 9)
    for i in range(3):
        log.commit([text(i)])
    log.close()
    second = segment_path(tmp_path, 2)
    whole = second.read_bytes()
    second.write_bytes(whole[:-1])
    log = SegmentLog(tmp_path, 9)
    with pytest.raises(StorageFailed, match=r"00000002\.seg is damaged at byte 8: it is cut short"):
        list(log.read())
    log.close()
    second.unlink()
    with pytest.raises(StorageFailed, match=r"00000002\.seg is missing"):
        SegmentLog(tmp_path, 9)


def test_one_owner(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 4096)
    with pytest.raises(StorageInUse, match="another process owns"):
        SegmentLog(tmp_path, 4096)
    log.close()
    SegmentLog(tmp_path, 4096).close()


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("also", [None, "truncate"])
@pytest.mark.parametrize(("number", "kind"), [(FULL, StorageFull), (BROKEN, StorageFailed)])
def test_a_failed_commit_leaves_nothing_and_the_log_goes_on(
    tmp_path: Path, call: str, also: str | None, number: int, kind: type[QuickchangeError]
) -> None:
    disk = FailingDisk()
    log = SegmentLog(tmp_path, 4096, disk=disk)
    log.commit([b"before"])
    disk.failing = {call: number} | ({also: number} if also else {})
    for _ in range(2):
        with pytest.raises(kind):
            log.commit([b"lost", b"lost too"])
        assert lines(log) == [b"before"]
    disk.failing = {}
    log.commit([b"after"])
    assert lines(log) == [b"before", b"after"]
    log.close()
    log = SegmentLog(tmp_path, 4096)
    assert lines(log) == [b"before", b"after"]
    log.close()


def test_what_could_not_be_cut_at_once_is_cut_before_the_next_commit(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = SegmentLog(tmp_path, 200, disk=disk)
    disk.failing = {"write": FULL, "truncate": BROKEN}
    with pytest.raises(StorageFull):
        log.commit([b"x" * 1000])
    disk.failing = {}
    for i in range(10):
        log.commit([text(i)])
    assert lines(log) == [text(i) for i in range(10)]
    log.close()


@pytest.mark.parametrize("call", ["create", "write", "sync", "sync_directory"])
def test_a_segment_that_cannot_begin_leaves_the_log_as_it_was(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    log = SegmentLog(tmp_path, 9, disk=disk)
    log.commit([b"before"])
    disk.failing = {call: FULL}
    with pytest.raises(StorageFull):
        log.commit([b"lost"])
    assert segment_numbers(tmp_path) == range(1, 2)
    disk.failing = {}
    log.commit([b"after"])
    assert lines(log) == [b"before", b"after"]
    log.close()


def test_a_real_limit_of_the_file_system_is_storage_full(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 1 << 20)
    log.commit([b"before"])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(StorageFull, match="no room on the disk while writing the feedback log"):
            log.commit([b"x" * 10_000])
        log.commit([b"small"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    log.commit([b"x" * 10_000])
    assert lines(log) == [b"before", b"small", b"x" * 10_000]
    log.close()


def test_the_oldest_segments_go_where_a_bound_is_set(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 200, keep_bytes=1000)
    for i in range(100):
        log.commit([text(i)])
        assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) <= 1000 + 2 * 300
    kept = lines(log)
    assert kept == [text(i) for i in range(100 - len(kept), 100)]
    assert 5 < len(kept) < 30
    assert list(log.read_at([Offset(1, 8, 0)])) == []
    first = log.first
    log.close()
    log = SegmentLog(tmp_path, 200, keep_bytes=1000)
    assert (log.first, lines(log)) == (first, kept)
    log.close()


def test_only_offsets_of_frames_can_be_read_on_from(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 4096)
    (offset, last) = (log.commit([b"1"])[0], log.commit([b"2"])[0])
    assert log.has_frame(START)
    assert log.has_frame(offset)
    assert log.has_frame(last._replace(line=9))
    for wrong in (Offset(0, 8, 0), Offset(2, 8, 0), Offset(1, 9, 0), Offset(1, 10**15, 0), Offset(1, 0, 0)):
        assert not log.has_frame(wrong)
    log.close()
