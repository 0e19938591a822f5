"""What is lost is drained and started again; what cannot be started again is given up."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.process.driver import ABANDON, STOP, Refused, Running
from service.process.supervisor import Service
from service.process.waiting import CannotStart, Interrupted

LOGS = Path("/logs")
DEAD = "Ray's node manager died"


@dataclass
class FakeLife:
    """A driver that is lost after so many looks, or does not start."""

    dies_after: int | None = None
    refused: str | None = None
    dies_starting: bool = False
    warnings: tuple[str, ...] = ()
    done: list[str] = field(default_factory=list)
    started: bool = False
    last: threading.Event | None = None
    """Set at the first look at one that never dies."""

    def go(self) -> None:
        self.done.append("went")

    def said(self) -> Running | Refused | None:
        return Running(LOGS, self.warnings) if self.refused is None else Refused(self.refused)

    def is_ready(self) -> bool:
        self.started = True
        return True

    def lost(self) -> str | None:
        if not self.started:
            return DEAD if self.dies_starting else None
        if self.dies_after is None:
            assert self.last is not None
            self.last.set()
            return None
        self.dies_after -= 1
        return DEAD if self.dies_after < 0 else None

    def end(self, order: str, limit_s: float, stop: threading.Event) -> None:
        self.done.append(order)

    def kill(self) -> None:
        self.done.append("killed")


class Lives:
    """The drivers that are started one after the other, and what was said meanwhile."""

    def __init__(self, *lives: FakeLife) -> None:
        self.lives = list(lives)
        self.begun: list[FakeLife] = []
        self.said: list[str] = []
        self.stop = threading.Event()
        self.service = Service(self._begin, self.said.append, pauses_s=(0.0, 0.001, 0.002), look_s=0.001)

    def _begin(self) -> FakeLife:
        self.begun.append(self.lives.pop(0))
        self.begun[-1].last = self.stop
        return self.begun[-1]

    def run(self) -> None:
        assert self.service.start(self.stop) == LOGS
        self.service.keep(self.stop)


def test_what_is_lost_is_drained_and_started_again() -> None:
    lives = Lives(FakeLife(dies_after=2), FakeLife())
    lives.run()
    assert [life.done for life in lives.begun] == [["went", ABANDON, "killed"], ["went"]]
    assert lives.said[0].startswith(f"{DEAD}: restarting Ray and the deployments")
    assert lives.said[1].startswith("serving again after")
    lives.service.stop(lives.stop)
    assert lives.begun[-1].done == ["went", STOP]


def test_a_start_that_fails_is_tried_again_a_few_times() -> None:
    lives = Lives(FakeLife(dies_after=1), FakeLife(refused="no port"), FakeLife(dies_starting=True), FakeLife())
    lives.run()
    assert lives.said[1:3] == [
        "start 1 of 3 failed: no port",
        f"start 2 of 3 failed: {DEAD} while the service was starting",
    ]
    assert all(life.done[-1] == "killed" for life in lives.begun[:-1])


def test_the_next_one_gets_ready_while_the_lost_one_drains() -> None:
    lives = Lives(FakeLife(dies_after=1), FakeLife())
    lives.service.start(lives.stop)
    begun_when_drained = []
    lives.begun[0].end = lambda *_: begun_when_drained.append(len(lives.begun))  # type: ignore[method-assign]
    lives.service.keep(lives.stop)
    assert begun_when_drained == [2]


def test_when_no_start_succeeds_it_is_given_up() -> None:
    lives = Lives(FakeLife(dies_after=1), *[FakeLife(refused="no port") for _ in range(3)])
    with pytest.raises(CannotStart, match=f"{DEAD}, and the service could not be started again"):
        lives.run()
    assert lives.lives == []


def test_one_that_dies_again_and_again_is_given_up() -> None:
    lives = Lives(*[FakeLife(dies_after=1) for _ in range(4)])
    with pytest.raises(CannotStart, match="could not be started again"):
        lives.run()
    assert [life.done for life in lives.begun] == [["went", ABANDON, "killed"]] * 3 + [["went", ABANDON]]


def test_a_first_start_that_fails_is_not_tried_again() -> None:
    lives = Lives(FakeLife(refused="no such base"))
    with pytest.raises(CannotStart, match="no such base"):
        lives.run()


def test_a_signal_ends_a_start() -> None:
    lives = Lives(FakeLife(dies_after=1), FakeLife(dies_after=5))
    lives.service.start(lives.stop)
    lives.begun[0].dies_after = 0
    lives.begun[0].end = lambda *_: lives.stop.set()  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        lives.service.keep(lives.stop)


def test_what_people_should_know_of_the_replicas_is_said() -> None:
    lives = Lives(FakeLife(warnings=("warning: torch computes",)))
    lives.run()
    assert lives.said == ["warning: torch computes"]
