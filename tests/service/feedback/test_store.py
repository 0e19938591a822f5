"""Feedback joined with responses: what is found, by whom, when, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import InvalidValue, ResponseNotFound
from service.feedback.events import Author, FeedbackEvent
from service.feedback.log import Receipt
from service.feedback.responses import MAX_RECORD_BYTES
from service.feedback.store import FeedbackStore
from tests.service.feedback.examples import ACME, BASE, OPTIONS, OTHER, SUPPORT, at, good, one, response

PATIENT = OPTIONS.model_copy(update={"wait_s": 30.0})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FeedbackStore]:
    store = FeedbackStore(tmp_path, OPTIONS)
    yield store
    await store.close()


async def test_what_was_answered_comes_from_the_record(store: FeedbackStore) -> None:
    await store.keep([response("r1"), response("r2", adapter=OTHER), response("r3", adapter=None)])
    pair = {"a": at("r2"), "b": at("r3")}
    await store.accept([good("r1"), one(kind="preference", target=pair, value="b")], ACME)
    page = await store.page("acme")
    assert [event.digests for event in page.events] == [(SUPPORT.digest,), (OTHER.digest, BASE)]
    assert {(event.tenant, event.principal) for event in page.events} == {ACME}


async def test_unknown_and_foreign_are_the_same(store: FeedbackStore) -> None:
    await store.keep([response("r1")])
    told = []
    for said, author in [(good("r1"), Author("globex", "key-2")), (good("r9"), ACME)]:
        with pytest.raises(ResponseNotFound) as refused:
            await store.accept([said], author)
        told.append((refused.value.message.replace("r9", "r1"), refused.value.param))
    assert told[0] == told[1] == ("target: there is no response r1", "target")
    assert (await store.page("acme")).events == (await store.page("globex")).events == ()


async def test_feedback_first_waits_for_the_record(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path, PATIENT)
    early = [asyncio.create_task(store.accept([good("r1", key=str(i)), good("r2")], ACME)) for i in range(3)]
    await store.keep([response("r1")])
    assert not any(task.done() for task in early)
    await store.keep([response("r2")])
    assert len({receipts[0].id for receipts in await asyncio.gather(*early)}) == 3
    assert not store._awaited
    await store.close()


async def test_one_refused_event_refuses_its_batch(store: FeedbackStore) -> None:
    await store.keep([response("r1")])
    with pytest.raises(ResponseNotFound) as refused:
        await store.accept([good("r1"), good("r2")], ACME)
    assert refused.value.param == "events[1].target"
    assert (await store.page("acme")).events == ()


async def test_what_cannot_be_compared_is_refused(store: FeedbackStore) -> None:
    await store.keep([response("r1", "a", "b"), response("r2", "c", prompts=("another prompt",))])
    await store.keep([response("r3", "a", "b", prompts=("one", "two"))])
    pairs = {"a": at("r1"), "b": at("r2")}
    for said, param, told in [
        (one(kind="binary", target=at("r1", 2), value=True), "target", "response r1 has no choice 2"),
        (one(kind="preference", target=pairs, value="a"), "target", "same prompt"),
        (one(kind="ranking", target={"response_id": "r3"}, value=[1, 0]), "value", "same prompt"),
        (one(kind="ranking", target={"response_id": "r1"}, value=[1, 2]), "value", "response r1 has no choice 2"),
    ]:
        with pytest.raises(InvalidValue, match=told) as refused:
            await store.accept([said], ACME)
        assert refused.value.param == param
    same = {"a": at("r1", 1), "b": at("r1", 0)}
    await store.accept([one(kind="preference", target=same, value="a")], ACME)


async def test_too_many_at_once(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path, OPTIONS.model_copy(update={"batch": 2}))
    await store.keep([response("r1")])
    await store.accept([good("r1")] * 2, ACME)
    for count in (0, 3):
        with pytest.raises(InvalidValue, match="must be 1 to 2 at once"):
            await store.accept([good("r1")] * count, ACME)
    await store.close()


async def test_a_response_too_long_to_keep_fails_alone(store: FeedbackStore) -> None:
    with pytest.raises(InvalidValue, match="response long is over"):
        await store.keep([response("long", "x" * MAX_RECORD_BYTES)])
    big = [response(f"big{i}", "x" * (MAX_RECORD_BYTES - 2000)) for i in range(4)]
    await store.keep(big)
    with pytest.raises(InvalidValue, match="too many and too long responses"):
        await store.accept([good(record.id) for record in big], ACME)
    await store.accept([good(record.id) for record in big[:2]], ACME)


async def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path, OPTIONS)
    await store.keep([response("r1")])
    (first,) = await store.accept([good("r1", key="k")], ACME)
    await store.close()
    store = FeedbackStore(tmp_path, OPTIONS)
    (again,) = await store.accept([good("r1", key="k")], ACME)
    assert again == first._replace(duplicate=True)
    await store.accept([good("r1")], ACME)
    await store.close()


async def test_old_responses_are_forgotten_and_feedback_stays(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path, OPTIONS.model_copy(update={"response_bytes": 20_000, "responses": 50}))
    await store.keep([response("r0")])
    await store.accept([good("r0")], ACME)
    for i in range(1, 40):
        await store.keep([response(f"r{i}", "x" * 1000)])
    assert sum(path.stat().st_size for path in (tmp_path / "responses").glob("*.seg")) < 30_000
    await store.accept([good("r39")], ACME)
    with pytest.raises(ResponseNotFound):
        await store.accept([good("r0")], ACME)
    assert len((await store.page("acme")).events) == 2
    await store.close()


async def test_pages_go_through_the_tenants_own_events(store: FeedbackStore) -> None:
    globex = Author("globex", "key-2")
    await store.keep([response("r1"), response("r2", tenant="globex")])
    told: list[Receipt] = []
    for i in range(7):
        told += await store.accept([good("r1", key=f"{i}a"), good("r1", key=f"{i}b")], ACME)
        await store.accept([good("r2")], globex)
    seen: list[FeedbackEvent] = []
    after = ""
    while True:
        page = await store.page("acme", after, limit=3)
        if page.next == after:
            break
        assert len(page.events) <= 3
        seen += page.events
        after = page.next
    assert [event.id for event in seen] == [receipt.id for receipt in told]
    assert (await store.page("acme", after)).events == ()
    assert len((await store.page("globex")).events) == 7
    for wrong in ("x", "1-9-0", "7-8-0", "1-8", "-1-8-0", "1-8-0 ", "9" * 99):
        with pytest.raises(InvalidValue, match="after: must be the next of an earlier page"):
            await store.page("acme", wrong)


async def test_a_page_tells_nothing_of_other_tenants(store: FeedbackStore, tmp_path: Path) -> None:
    """Its cursor moves at the tenant's own events only, cannot be read, and is of no use to another tenant."""
    globex = Author("globex", "key-2")
    await store.keep([response("r1"), response("r2", tenant="globex")])
    assert (await store.page("acme")).next == ""
    await store.accept([good("r2", key="first")], globex)
    assert (await store.page("acme")).next == ""
    await store.accept([good("r1")], ACME)
    mine = (await store.page("acme")).next
    for i in range(20):
        await store.accept([good("r2", key=f"{i}")], globex)
        assert await store.page("acme", mine) == ((), mine)
    theirs = (await store.page("globex")).next
    assert len(mine) == len(theirs) == 48
    with pytest.raises(InvalidValue, match="after: must be the next"):
        await store.page("globex", mine)
    await store.accept([good("r1", key="later")], ACME)
    later = await store.page("acme", mine)
    assert (len(later.events), later.next != mine) == (1, True)


async def test_cursors_outlive_a_restart_and_a_long_log_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    globex = Author("globex", "key-2")
    store = FeedbackStore(tmp_path, OPTIONS)
    await store.keep([response("r1"), response("r2", tenant="globex")])
    await store.accept([good("r1")], ACME)
    mine = (await store.page("acme")).next
    for i in range(3):
        await store.accept([good("r2", key=f"{i}")], globex)
    await store.accept([good("r1", key="last")], ACME)
    await store.close()
    monkeypatch.setattr("service.feedback.store.PAGE_S", -1.0)
    store = FeedbackStore(tmp_path, OPTIONS)
    page, parts = await store.page("acme", mine), 1
    while not page.events:
        page, parts = await store.page("acme", page.next), parts + 1
    assert parts > 1
    await store.close()
    assert (tmp_path / "cursor.key").stat().st_mode & 0o777 == 0o600
