"""Response records on their way to the owner: never waited for, sent again when it comes back, dropped by count."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest

from service.errors import ResponseNotFound, StorageFailed, StorageInUse
from service.feedback.port import Ask, Keep
from service.feedback.store import FeedbackStore
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import BATCH, TRIES, RecorderClient
from service.values import Failure
from tests.service.feedback.examples import ACME, OPTIONS, good, response

T = TypeVar("T")
GONE = StorageFailed("the owner of the feedback log does not answer", retry_after_s=2.0)


class Away:
    """An owner that records do not reach the first ``missed`` times."""

    def __init__(self, store: FeedbackStore, missed: int) -> None:
        self._owner = StoreOwner(lambda: store)
        self.missed = missed
        self.batches: list[int] = []

    async def answer(self, ask: Ask[T]) -> T | Failure:
        if isinstance(ask, Keep):
            self.batches.append(len(ask.records))
            await asyncio.sleep(0)
            if self.missed:
                self.missed -= 1
                raise GONE
        return await self._owner.answer(ask)


@pytest.fixture
async def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    store = FeedbackStore(tmp_path, OPTIONS)
    yield store
    await store.close()


async def test_records_sent_while_a_call_runs_share_the_next(store: FeedbackStore) -> None:
    calls = Away(store, missed=0)
    client = RecorderClient(calls.answer, 1 << 20)
    client.keep(response("r0"))
    await asyncio.sleep(0)
    for i in range(1, BATCH + 10):
        client.keep(response(f"r{i}"))
    await client.flush()
    assert calls.batches == [1, BATCH, 9]
    assert (client.kept, client.dropped) == (BATCH + 10, 0)
    assert len(await client.accept([good(f"r{i}") for i in range(BATCH + 10)], ACME)) == BATCH + 10


async def test_a_recorder_that_comes_back_gets_what_it_missed(store: FeedbackStore) -> None:
    calls = Away(store, missed=3)
    client = RecorderClient(calls.answer, 1 << 20, retry_s=0.0)
    client.keep(response("r1"))
    await client.flush()
    assert (calls.batches, client.kept, client.dropped) == ([1, 1, 1, 1], 1, 0)
    await client.accept([good("r1")], ACME)


async def test_one_that_stays_away_costs_records_by_count(store: FeedbackStore) -> None:
    client = RecorderClient(Away(store, missed=TRIES).answer, 1 << 20, retry_s=0.0)
    client.keep(response("r1"))
    await client.flush()
    assert (client.kept, client.dropped) == (0, 1)
    client.keep(response("r2"))
    await client.flush()
    assert (client.kept, client.dropped) == (1, 1)
    with pytest.raises(ResponseNotFound):
        await client.accept([good("r1")], ACME)


async def test_what_waits_is_bounded_in_bytes(store: FeedbackStore) -> None:
    client = RecorderClient(Away(store, missed=1).answer, queue_bytes=2000, retry_s=0.0)
    for i in range(10):
        client.keep(response(f"r{i}", "x" * 500))
    await client.flush()
    assert client.kept + client.dropped == 10
    assert client.kept == 1


async def test_a_tenant_whose_records_wait_leaves_room_to_others(store: FeedbackStore) -> None:
    client = RecorderClient(Away(store, missed=1).answer, queue_bytes=20_000, retry_s=0.0)
    client.keep(response("first"))
    await asyncio.sleep(0)
    for i in range(40):
        client.keep(response(f"r{i}", "x" * 500))
    dropped = client.dropped
    assert dropped > 20
    client.keep(response("theirs", "x" * 500, tenant="globex"))
    await client.flush()
    assert client.dropped == dropped


async def test_one_record_that_cannot_be_kept_costs_no_other(store: FeedbackStore) -> None:
    client = RecorderClient(StoreOwner(lambda: store).answer, 1 << 30)
    client.keep(response("long", "x" * (4 << 20), "x"))
    client.keep(response("r1"))
    await client.flush()
    assert (client.kept, client.dropped) == (1, 1)
    await client.accept([good("r1")], ACME)


async def test_a_defect_costs_its_batch_and_the_rest_is_sent(
    store: FeedbackStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Defect(Away):
        async def answer(self, ask: Ask[T]) -> T | Failure:
            if isinstance(ask, Keep) and not self.batches:
                self.batches.append(len(ask.records))
                raise ZeroDivisionError
            return await super().answer(ask)

    client = RecorderClient(Defect(store, missed=0).answer, 1 << 20)
    client.keep(response("r1"))
    await asyncio.sleep(0)
    client.keep(response("r2"))
    await client.flush()
    assert (client.kept, client.dropped) == (1, 1)
    assert any("sending response records failed" in record.getMessage() for record in caplog.records)


def owner(directory: Path) -> StoreOwner:
    return StoreOwner(lambda: FeedbackStore(directory, OPTIONS), every_s=0.01)


async def test_an_owner_waits_for_the_one_before_and_finds_all_that_it_had(tmp_path: Path) -> None:
    old, new = owner(tmp_path), owner(tmp_path)
    assert await old.answer(Keep((response("r1"),))) == ()
    client = RecorderClient(new.answer, 1 << 20, retry_s=0.01)
    client.keep(response("r2"))
    with pytest.raises(StorageInUse):
        await client.accept([good("r1")], ACME)
    assert await client.inspect() is None
    await new.check_health()  # a deployment that is not well would never take over
    await old.close()
    await client.flush()
    assert (client.kept, client.dropped) == (1, 0)
    assert len(await client.accept([good("r1"), good("r2")], ACME)) == 2
    await new.close()


async def test_an_owner_that_cannot_open_what_it_waited_for_is_not_well(tmp_path: Path) -> None:
    old, new = owner(tmp_path), owner(tmp_path)
    await old.close()
    (tmp_path / "events" / "00000003.seg").write_bytes(b"")  # 2 is missing
    async with asyncio.timeout(60):
        assert new._opening is not None
        await asyncio.wait([new._opening])
    with pytest.raises(StorageFailed, match="missing"):
        await new.check_health()
    await new.close()
