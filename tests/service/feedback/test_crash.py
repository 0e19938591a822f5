"""SIGKILL at the calls to the disk: every acknowledged event once after the restart, none half."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.feedback.log import FeedbackLog
from tests.service.feedback.crash_child import PHASES, ROUNDS, batches
from tests.service.feedback.examples import OPTIONS

MOST_CALLS = 200
EVENTS = {event.id: event for number in range(ROUNDS) for batch in batches(number) for event in batch}


class Crasher:
    """The process that forks those to be killed."""

    def __init__(self) -> None:
        root = Path(__file__).parents[3]
        command = [sys.executable, "-m", "tests.service.feedback.crash_child"]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, directory: Path, call: int, phase: str) -> tuple[list[str], bool]:
        """What was acknowledged, and whether it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(directory), call, phase]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the worker failed: its trace is on standard error"
        told = json.loads(line)
        return told["acknowledged"], told["killed"]

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def crasher() -> Iterator[Crasher]:
    crasher = Crasher()
    yield crasher
    crasher.close()


def check(directory: Path, acknowledged: list[str]) -> None:
    """Opens the log as the next process would."""
    log = FeedbackLog(directory, OPTIONS)
    found = [stored.entry.event for stored in log.read() if stored.entry.event]
    responses = {stored.entry.response.id for stored in log.read() if stored.entry.response}
    log.close()
    counts = Counter(event.id for event in found)
    assert set(counts.values()) <= {1}, "an event is there twice"
    assert set(acknowledged) <= set(counts), "an acknowledged event is lost"
    assert all(EVENTS[event.id] == event for event in found)
    assert {event.said.target.response_id for event in found} <= responses  # type: ignore[union-attr]
    for number in range(ROUNDS):
        for batch in batches(number):
            assert sum(counts[event.id] for event in batch) in (0, len(batch)), "a batch is there in part"


def kill_and_resume(crasher: Crasher, directory: Path, call: int, phase: str, again: int | None) -> bool:
    """Killed once, perhaps again while it recovers, then run to the end. False: no such call."""
    acknowledged, killed = crasher.run(directory, call, phase)
    check(directory, acknowledged)
    if killed and again is not None:
        more, _ = crasher.run(directory, again, phase)
        acknowledged += more
    rest, unfinished = crasher.run(directory, MOST_CALLS, "before")
    assert not unfinished
    assert set(rest) == set(EVENTS)
    check(directory, acknowledged + rest)
    return killed


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("call", [0, 5, 9, 14])
def test_a_sample_of_points(crasher: Crasher, tmp_path: Path, call: int, phase: str) -> None:
    assert kill_and_resume(crasher, tmp_path / "log", call, phase, again=call % 4)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_every_point(crasher: Crasher, tmp_path: Path, phase: str) -> None:
    killed = [kill_and_resume(crasher, tmp_path / f"log-{call}", call, phase, None) for call in range(MOST_CALLS)]
    assert killed.index(False) > 20
    # How the groups fall differs from run to run, so the number of calls does too; then none is left to be killed.
    assert not any(killed[killed.index(False) + 10 :])


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_every_point_of_the_recovery(crasher: Crasher, tmp_path: Path, phase: str) -> None:
    for call in range(0, 24):
        for again in range(8):
            kill_and_resume(crasher, tmp_path / f"log-{call}-{again}", call, phase, again)
