"""The driver does what it is told, in order, and ends when nobody is there to tell it; what it makes of a refusal."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from service.process import driver
from service.process.driver import ABANDON, START, STOP, Refused, Running
from service.settings import Settings


class FakeCluster:
    """Notes what is asked of it."""

    done: list[str]
    refusal: str | None = None

    def __init__(self, settings: Settings, directory: Path) -> None:
        type(self).done = []

    def prepare(self) -> None:
        self.done.append("prepare")

    def start(self) -> Path:
        self.done.append("start")
        return Path("/logs")

    def run(self, application: object) -> tuple[str, ...]:
        self.done.append("run")
        if self.refusal is not None:
            raise RuntimeError(self.refusal)
        return ("warning: slow",)

    def stop(self) -> None:
        self.done.append("stop")

    def abandon(self) -> None:
        self.done.append("abandon")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, Connection]:
    """The end of ``up``, where the settings have been sent, and the driver's."""
    monkeypatch.setattr(driver, "Cluster", FakeCluster)
    ours, theirs = Pipe()
    ours.send((Settings(), Path("/ray")))
    return ours, theirs


@pytest.mark.parametrize(("order", "last"), [(STOP, "stop"), (ABANDON, "abandon")])
def test_it_starts_when_told_and_ends_as_told(told: tuple[Connection, Connection], order: str, last: str) -> None:
    ours, theirs = told
    ours.send(START)
    ours.send(order)
    driver.drive(theirs)
    assert FakeCluster.done == ["prepare", "start", "run", last]
    assert ours.recv() == Running(Path("/logs"), ("warning: slow",))


@pytest.mark.parametrize("started", [True, False])
def test_it_ends_when_nobody_is_there(told: tuple[Connection, Connection], started: bool) -> None:
    ours, theirs = told
    if started:
        ours.send(START)
    ours.close()
    driver.drive(theirs)
    assert FakeCluster.done[-1] == "stop"
    assert ("run" in FakeCluster.done) == started


def test_a_refusal_is_told_in_one_line(told: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    account = "Failed:\n  Traceback ...\n  service.errors.BaseUnavailable: x cannot be served: no.\nThe end\n"
    monkeypatch.setattr(FakeCluster, "refusal", account)
    ours, theirs = told
    ours.send(START)
    ours.send(STOP)
    driver.drive(theirs)
    assert ours.recv() == Refused("the service does not start: x cannot be served: no.\nlogs: /logs")
    assert driver._reason("one\ntwo\n") == "two"
