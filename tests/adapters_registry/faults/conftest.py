"""Lives of a registry below a shim, for whoever kills it or takes its power."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters_registry.faults.record import Call, recorded
from tests.adapters_registry.faults.script import OPERATIONS, State
from tests.adapters_registry.faults.shim import RECORD, Faults, build
from tests.adapters_registry.faults.verdict import reference


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
        self._process.__exit__(None, None, None)  # the end of its input is its end


@pytest.fixture(scope="session")
def start(tmp_path_factory, migrated) -> Path:
    """A data directory whose database has its schema."""
    directory = tmp_path_factory.mktemp("start")
    shutil.copy(migrated, directory / "registry.db")
    return directory


@pytest.fixture(scope="session")
def states(tmp_path_factory, start) -> list[State]:
    directory = tmp_path_factory.mktemp("reference") / "data"
    shutil.copytree(start, directory)
    return reference(directory)


@pytest.fixture(scope="session")
def lives(tmp_path_factory, start) -> Iterator[Lives]:
    lives = Lives(tmp_path_factory.mktemp("lives"), start)
    yield lives
    lives.close()


@pytest.fixture(scope="session")
def calls(lives: Lives) -> list[Call]:
    """What a whole life does to files."""
    _, done, status = lives.live(RECORD, last=1 << 40)
    assert (done, status) == (len(OPERATIONS), 0)
    found = list(recorded(lives.faults.record))
    assert len(found) == lives.faults.count
    return found
