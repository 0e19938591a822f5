"""Events: each once, in one piece, whatever is sent twice, at once or too much."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import IdempotencyConflict, InvalidValue, Overloaded, StorageFailed, StorageFull
from service.feedback.commit import GroupCommit
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import FeedbackLog, Receipt, parse_entry
from service.feedback.reading import Offset
from service.feedback.segments import SegmentLog
from tests.service.feedback.examples import (
    ACME,
    BROKEN,
    FULL,
    OPTIONS,
    FailingDisk,
    UnsyncedDisk,
    event,
    good,
    response,
)


def ids(log: FeedbackLog) -> list[str]:
    return [stored.entry.event.id for stored in log.read() if stored.entry.event]


def test_an_event_is_read_as_it_was_appended(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    first, second = event(good()), event(good(key="k"))
    offset = log.append(first)
    log.append(second)
    assert [stored.entry.event for stored in log.read()] == [first, second]
    assert [stored.entry.event for stored in log.read(offset)] == [first, second]
    log.close()


def test_records_from_before_a_sampling_field_existed_read_as_its_default() -> None:
    record = json.loads(response("r1").model_dump_json())
    for added in ("min_tokens", "stop_token_ids"):
        del record["sampling"][added]
    assert ResponseRecord.model_validate_json(json.dumps(record)) == response("r1")


def test_an_event_sent_twice_counts_once_also_after_a_restart(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    (first,) = log.submit([event(good(key="k"))]).result()
    (again,) = log.submit([event(good(key="k"), minute=5)]).result()
    assert not first.duplicate
    assert again == first._replace(duplicate=True)
    assert log.append(event(good(key="k"))) == first.offset
    log.close()
    log = FeedbackLog(tmp_path, OPTIONS)
    assert log.submit([event(good(key="k"))]).result() == (again,)
    assert ids(log) == [first.id]
    (other,) = log.submit([event(good(key="k"), author=Author("globex", "key-1"))]).result()
    assert other.id != first.id, "keys are the tenant's own"
    log.close()


def test_twice_in_one_batch_and_twice_at_once(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    twins = [event(good(key="k")), event(good(key="k")), event(good(key="other"))]
    receipts = log.submit(twins).result()
    assert [receipt.duplicate for receipt in receipts] == [False, True, False]
    assert receipts[0][:2] == receipts[1][:2]
    start = Barrier(8)
    told: list[Receipt] = []

    def send() -> None:
        start.wait()
        told.extend(log.submit([event(good(key="racing"))]).result())

    threads = [Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({receipt[:2] for receipt in told}) == 1
    assert sorted(receipt.duplicate for receipt in told) == [False] + [True] * 7
    assert len(ids(log)) == 3
    log.close()


def test_without_a_key_each_counts(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    log.submit([event(good()), event(good())]).result()
    assert len(set(ids(log))) == 2
    log.close()


def test_a_key_used_for_something_else_refuses_the_whole_batch(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    log.append(event(good(key="k")))
    with pytest.raises(IdempotencyConflict) as refused:
        log.submit([event(good()), event(good(key="k", value=False))])
    assert refused.value.param == "events[1].idempotency_key"
    with pytest.raises(IdempotencyConflict):
        log.submit([event(good(key="new")), event(good(key="new", value=False))])
    assert len(ids(log)) == 1
    log.append(event(good(key="new", value=False)))
    log.close()


def test_a_response_goes_before_the_first_event_on_it_and_once(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    records = {"r1": response("r1"), "r2": response("r2")}
    log.submit([event(good("r1", key="k"))], {"r1": records["r1"]}).result()
    log.submit([event(good("r1", key="k"))], {"r1": records["r1"]}).result()
    log.submit([event(good("r1")), event(good("r2"))], records).result()
    log.close()
    log = FeedbackLog(tmp_path, OPTIONS)
    log.submit([event(good("r2"))], records).result()
    shape = [stored.entry.response.id if stored.entry.response else "event" for stored in log.read()]
    assert shape == ["r1", "event", "r2", "event", "event", "event"]
    assert [stored.entry.response for stored in log.read() if stored.entry.response] == list(records.values())
    log.close()


@pytest.mark.parametrize(("number", "kind"), [(FULL, StorageFull), (BROKEN, StorageFailed)])
def test_a_failing_disk_acknowledges_nothing_and_the_log_goes_on(tmp_path: Path, number: int, kind: type) -> None:
    disk = FailingDisk()
    log = FeedbackLog(tmp_path, OPTIONS, disk)
    before = log.append(event(good(key="before")))
    disk.failing = {"sync": number}
    for _ in range(2):
        lost = log.submit([event(good(key="lost"))], {"r1": response("r1")})
        assert isinstance(lost.exception(), kind)
    disk.failing = {}
    assert len(ids(log)) == 1
    (receipt,) = log.submit([event(good(key="lost"))], {"r1": response("r1")}).result()
    assert not receipt.duplicate
    assert log.append(event(good(key="before"))) == before
    assert len(ids(log)) == 2
    log.close()


def test_keys_are_remembered_up_to_the_bound_and_ids_for_ever(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"keys": 3})
    log = FeedbackLog(tmp_path, options)
    told = [log.submit([event(good(key=str(i)))]).result()[0] for i in range(5)]
    for _ in range(2):
        assert log.submit([event(good(key="4"))]).result()[0].duplicate
        assert log.submit([event(good(key="2"))]).result()[0].duplicate
        log.close()
        log = FeedbackLog(tmp_path, options)
    (old,) = log.submit([event(good(key="0"))]).result()
    assert (old.id, old.duplicate) == (told[0].id, False)
    log.close()


def test_what_is_too_large_for_one_frame_is_refused(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    records = {name: response(name, "x" * (4 << 20)) for name in "abcdef"}
    with pytest.raises(InvalidValue, match="send fewer at once"):
        log.submit([event(good(name)) for name in records], records)
    assert ids(log) == []
    log.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=1, max_size=4), max_size=12))
def test_any_order_of_sendings(tmp_path_factory: pytest.TempPathFactory, sent: list[list[tuple[str, bool]]]) -> None:
    """The first use of a key counts; the same again is a duplicate, another is refused with its whole batch."""
    log = FeedbackLog(tmp_path_factory.mktemp("log"), OPTIONS, UnsyncedDisk())
    stored: dict[str, bool] = {}
    for batch in sent:
        wanted = dict(reversed(batch)) | stored
        events = [event(good(key=key, value=value)) for key, value in batch]
        if any(wanted[key] != value for key, value in batch):
            with pytest.raises(IdempotencyConflict):
                log.submit(events)
            continue
        receipts = log.submit(events).result()
        fresh = {key for key, _ in batch} - set(stored)
        assert sum(not receipt.duplicate for receipt in receipts) == len(fresh)
        stored |= dict(batch)
    assert len(ids(log)) == len(set(ids(log))) == len(stored)
    log.close()


def test_many_callers_share_an_fsync_and_too_many_are_refused(tmp_path: Path) -> None:
    class Counting(UnsyncedDisk):
        syncs = 0

        def sync(self, file: int) -> None:
            self.syncs += 1

    disk = Counting()
    segments = SegmentLog(tmp_path, 1 << 20, disk=disk)
    before = disk.syncs
    commits = GroupCommit(segments, gather_s=60.0, queue_bytes=300, name="test")
    waiting = [commits.submit([b"%d" % i] * 2) for i in range(50)]
    barrier = commits.submit([])
    with pytest.raises(Overloaded):
        commits.submit([b"x" * 200])
    commits.close()
    assert disk.syncs == before + 1
    assert [offset.line for done in waiting for offset in done.result()] == list(range(100))
    assert barrier.result() == ()
    with pytest.raises(Overloaded, match="closed"):
        commits.submit([b"late"])
    segments.close()


def test_the_author_is_kept(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, OPTIONS)
    log.append(event(good()))
    (stored,) = log.read()
    assert stored.entry.event is not None
    assert (stored.entry.event.tenant, stored.entry.event.principal) == ACME
    log.close()


def test_lines_of_a_newer_release_are_read() -> None:
    said = event(good(key="k"))
    line = {"event": said.model_dump(mode="json") | {"newer": 1}, "newer": 2}
    line["event"]["said"] |= {"newer": 3}
    assert parse_entry(json.dumps(line).encode(), Offset(1, 0, 0)).event == said
