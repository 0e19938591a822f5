"""A registry killed at every write, sync, rename, unlink, truncation, creation of a file: what it had acknowledged is
there, what it had not is there whole or not at all, and it goes on."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters_registry.faults.record import recorded
from tests.adapters_registry.faults.script import OPERATIONS, State
from tests.adapters_registry.faults.shim import KILL, RECORD, TEAR, Faults, build
from tests.adapters_registry.faults.verdict import check, reference

SAMPLE = 20
"""Kills in the default run, spread evenly over the life."""


class Lives:
    """Lives of the registry, each in a copy of one start, below a shim."""

    def __init__(self, root: Path, start: Path) -> None:
        self._root = root
        self._start = start
        self.faults = Faults(build(root), root / "control", root)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters_registry.faults.child"],
            env=os.environ | self.faults.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, action: int, at: int = 1, last: int | None = None) -> tuple[Path, int, int]:
        """The directory, how many operations were acknowledged (-1: not even the opening), and the exit status."""
        directory = self._root / "life"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._start, directory)
        self.faults.set(action, at, at if last is None else last, directory)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{directory}\n")
        self._process.stdin.flush()
        done = -1
        while True:
            line = self._process.stdout.readline()
            assert line, "the harness ended"
            if line.startswith("ended"):
                return directory, done, int(line.split()[1])
            done = int(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def start(tmp_path_factory, migrated) -> Path:
    """A data directory whose database has its schema."""
    directory = tmp_path_factory.mktemp("start")
    shutil.copy(migrated, directory / "registry.db")
    return directory


@pytest.fixture(scope="module")
def states(tmp_path_factory, start) -> list[State]:
    directory = tmp_path_factory.mktemp("reference") / "data"
    shutil.copytree(start, directory)
    return reference(directory)


@pytest.fixture(scope="module")
def lives(tmp_path_factory, start) -> Iterator[Lives]:
    lives = Lives(tmp_path_factory.mktemp("lives"), start)
    yield lives
    lives.close()


@pytest.fixture(scope="module")
def calls(lives) -> list[str]:
    """What a whole life does to files, a word for each call."""
    _, done, status = lives.live(RECORD, last=1 << 40)
    assert (done, status) == (len(OPERATIONS), 0)
    words = [call.name for call in recorded(lives.faults.record)]
    assert len(words) == lives.faults.count
    return words


def test_the_life_does_everything_there_is(calls, states):
    assert set(calls) - {"nothing"} == {"write", "sync", "rename", "unlink", "truncate", "create", "mkdir", "touch"}
    assert len(calls) >= 300
    assert all(one != other for one, other in itertools.pairwise(states)), "every operation is seen"


def kill_and_check(lives, states, points) -> None:
    """Kills before or, if it writes, in the middle of each of the calls ``points``."""
    for point in points:
        directory, done, status = lives.live(TEAR if point % 2 else KILL, point)
        assert status == -signal.SIGKILL, f"call {point} was never reached"
        check(directory, max(done, 0), states)


def test_killed_at_a_sample_of_calls(lives, states, calls):
    kill_and_check(lives, states, range(1, len(calls) + 1, len(calls) // SAMPLE))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_every_call(lives, states, calls):
    kill_and_check(lives, states, range(1, len(calls) + 1))
    print(f"killed at each of {len(calls)} calls of {len(OPERATIONS)} operations: {Counter(calls)}")
    assert len(calls) >= 300
