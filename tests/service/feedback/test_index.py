"""A start reads the indexes of full segments and the last segment; without them it reads all, and finds the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from service.errors import StorageFailed
from service.feedback import segments
from service.feedback.log import FeedbackLog
from service.feedback.reading import Entry, Offset
from service.feedback.responses import ResponseLog, response_key
from tests.service.feedback.examples import OPTIONS, event, good, response
from tests.waiting import eventually

MANY = 60
SMALL = OPTIONS.model_copy(update={"response_bytes": 1 << 20})


@pytest.fixture
def was_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The segments whose records were read, from now on."""
    seen: list[int] = []
    read = segments.read_segment

    def noting(directory: Path, number: int, since: Offset, end: int) -> Iterator[Entry]:
        seen.append(number)
        return read(directory, number, since, end)

    monkeypatch.setattr(segments, "read_segment", noting)
    return seen


def fill(path: Path) -> None:
    log = FeedbackLog(path, SMALL)
    for i in range(MANY):
        record = response(f"r{i}", "x" * 200)
        log.submit([event(good(record.id, key=str(i)))], {record.id: record}).result()
    wait_for_indexes(path)
    log.close()


def wait_for_indexes(path: Path) -> None:
    """All segments but the last have one: they are written in the background, and no more once the log closes."""
    eventually(lambda: numbers(indexes(path)) == numbers(path.glob("*.seg"))[:-1])


def numbers(paths: Iterable[Path]) -> list[int]:
    return sorted(int(path.stem) for path in paths)


def check(path: Path) -> None:
    """What was sent before is known, responses and keys."""
    log = FeedbackLog(path, SMALL)
    assert [f"r{i}" in log._copied for i in range(MANY)] == [True] * MANY
    for i in range(MANY):
        [receipt] = log.submit([event(good(f"r{i}", key=str(i)))]).result()
        assert receipt.duplicate
    assert len(list(log.read())) == 2 * MANY
    log.close()


def indexes(path: Path) -> list[Path]:
    return sorted(path.glob("*.idx"))


def last(path: Path) -> int:
    return max(int(file.stem) for file in path.glob("*.seg"))


def test_a_start_reads_the_last_segment_only(tmp_path: Path, was_read: list[int]) -> None:
    fill(tmp_path)
    assert [int(file.stem) for file in indexes(tmp_path)] == list(range(1, last(tmp_path)))
    was_read.clear()
    FeedbackLog(tmp_path, SMALL).close()
    assert was_read == [last(tmp_path)]
    check(tmp_path)


@pytest.mark.parametrize("how", ["missing", "cut", "flipped", "of another", "empty"])
def test_an_index_that_is_not_right_is_made_anew(tmp_path: Path, was_read: list[int], how: str) -> None:
    fill(tmp_path)
    first, second, *_ = indexes(tmp_path)
    data = first.read_bytes()
    other = {
        "cut": data[:-1],
        "flipped": data[:-1] + bytes([data[-1] ^ 1]),
        "of another": second.read_bytes(),
        "empty": b"",
    }
    first.unlink() if how == "missing" else first.write_bytes(other[how])
    was_read.clear()
    FeedbackLog(tmp_path, SMALL).close()
    assert sorted(was_read) == [1, last(tmp_path)]
    assert first.read_bytes() == data
    check(tmp_path)


def test_a_log_of_before_there_were_indexes_is_read_once(tmp_path: Path, was_read: list[int]) -> None:
    fill(tmp_path)
    for file in indexes(tmp_path):
        file.unlink()
    was_read.clear()
    FeedbackLog(tmp_path, SMALL).close()
    assert sorted(was_read) == list(range(1, last(tmp_path) + 1))
    check(tmp_path)


def test_damage_is_found_when_it_is_read(tmp_path: Path) -> None:
    fill(tmp_path)
    segment = tmp_path / "00000001.seg"
    data = segment.read_bytes()
    segment.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    log = FeedbackLog(tmp_path, SMALL)
    with pytest.raises(StorageFailed, match="is damaged"):
        list(log.read())
    log.close()


def test_responses_too(tmp_path: Path, was_read: list[int]) -> None:
    log = ResponseLog(tmp_path, SMALL, lambda key: None)
    for i in range(MANY):
        log.submit(response(f"r{i}", "x" * 300)).result()
    wait_for_indexes(tmp_path)
    log.close()
    was_read.clear()
    again = ResponseLog(tmp_path, SMALL, lambda key: None)
    assert was_read == [last(tmp_path)]
    keys = [response_key("acme", f"r{i}") for i in range(MANY)]
    assert [again.read([key])[key].id for key in keys] == [f"r{i}" for i in range(MANY)]
    again.close()


def test_an_index_goes_with_its_segment(tmp_path: Path) -> None:
    log = ResponseLog(tmp_path, SMALL.model_copy(update={"response_bytes": 16 << 10}), lambda key: None)
    for i in range(10 * MANY):
        log.submit(response(f"r{i}", "x" * 300)).result()
    wait_for_indexes(tmp_path)
    log.close()
    kept = {int(file.stem) for file in tmp_path.glob("*.seg")}
    assert {int(file.stem) for file in indexes(tmp_path)} <= kept
    assert len(kept) < 10
