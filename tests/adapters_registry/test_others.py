from __future__ import annotations

import queue
import threading

import pytest

from adapters_registry.errors import StorageFailed
from adapters_registry.others import following

LONG_S = 60.0


class Database:
    """A last seq that may fail to be read; ``looked`` gets one entry a look."""

    def __init__(self) -> None:
        self.now: int | None = 7
        self.looked: queue.Queue[int | None] = queue.Queue()

    def seq(self) -> int:
        self.looked.put(self.now)
        if self.now is None:
            raise StorageFailed("away")
        return self.now

    def await_looks(self, of: int | None, count: int = 2) -> None:
        """Two looks: the first one's outcome was handled by the time of the second."""
        while count:
            count -= self.looked.get(timeout=LONG_S) == of


def test_another_seq_is_told_once():
    database, told = Database(), queue.Queue[int | None]()
    with following(database.seq, lambda: told.put(database.now), every_s=0.001):
        database.await_looks(7, 3)
        assert (told.get(timeout=LONG_S), told.qsize()) == (7, 0)
        database.now = 8
        assert told.get(timeout=LONG_S) == 8
        database.await_looks(8, 3)
        assert told.qsize() == 0


def test_an_outage_is_logged_once_and_survived(caplog: pytest.LogCaptureFixture):
    database, told = Database(), threading.Event()
    with following(database.seq, told.set, every_s=0.001):
        assert told.wait(LONG_S)
        told.clear()
        database.now = None
        database.await_looks(None, 3)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        database.now = 9
        assert told.wait(LONG_S), "what was committed during the outage is told after it"


def test_nobody_looks_afterwards():
    database = Database()
    with following(database.seq, lambda: None, every_s=0.001):
        database.await_looks(7)
    assert "others" not in [thread.name for thread in threading.enumerate()]
