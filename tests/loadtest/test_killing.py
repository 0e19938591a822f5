"""What is made of a kill: when service was back, and which process is which."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from loadtest.killing.outcome import HANGS, OK, WAITED_S, Answer, Outcome, back_s, counted
from loadtest.killing.roles import COMMANDS, KEEPER, SCENES, SERVICE, find

REFUSED = "ConnectError"


def answers(*told: tuple[float, float, str]) -> list[Answer]:
    return [Answer(began_s, ended_s, result) for began_s, ended_s, result in told]


@pytest.mark.parametrize(
    ("seen", "back"),
    [
        (answers((0.0, 0.1, OK), (0.5, 0.6, OK)), 0.0),
        (answers((0.0, 0.1, OK), (0.5, 0.5, REFUSED), (1.0, 1.0, REFUSED), (1.5, 1.7, OK), (2.0, 2.1, OK)), 1.7),
        (answers((0.0, 9.0, OK), (0.5, 9.0, OK), (9.5, 9.6, OK)), 9.0),  # they waited for a successor
        (answers((0.0, 0.1, OK), (1.0, 1.0, REFUSED), (1.5, 1.6, OK), (2.0, 2.0, REFUSED), (3.0, 3.2, OK)), 3.2),
        (answers((0.0, 0.1, OK), (1.0, 46.0, HANGS), (50.0, 95.0, HANGS)), None),
        (answers((0.0, 0.1, OK), (1.0, 1.0 + WAITED_S - 0.1, OK)), 0.0),  # slow, but nothing was away
    ],
)
def test_when_it_was_back(seen: list[Answer], back: float | None) -> None:
    assert back_s(seen) == back
    assert back_s(list(reversed(seen))) == back


def test_an_outcome_reads_in_a_row() -> None:
    outcome = Outcome("replica", 4.5, counted(["whole", "cut", "whole"]), counted([OK]), 4.6, "runs", [], [])
    assert outcome.cells() == ["1 × cut, 2 × whole", "1 × 200", "4.6 s", "runs", "nothing"]


@contextmanager
def process(*line: str) -> Iterator[int]:
    with subprocess.Popen([*line, "-c", "input()"], executable=sys.executable, stdin=subprocess.PIPE) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def test_processes_are_told_apart_below_the_keeper() -> None:
    keeper = psutil.Process()
    assert find(keeper, KEEPER) == [keeper]
    with process("/x/raylet/raylet") as raylet, process("ray::IDLE") as spare:
        assert [found.pid for found in find(keeper, "raylet")] == [raylet]
        assert [found.pid for found in find(keeper, "spare")] == [spare]
        assert find(keeper, "gcs") == []
        assert find(keeper, SERVICE) == []


def test_every_process_has_a_scene() -> None:
    known = {*COMMANDS, KEEPER, SERVICE}
    assert {victim for scene in SCENES.values() for victim in scene.victims} == known
