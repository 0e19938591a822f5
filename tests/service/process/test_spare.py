"""Spares: what counts as one, and that what they import is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from service.process import spare
from service.serve import warm


@contextmanager
def process(*line: str) -> Iterator[None]:
    """A process below this one whose command line reads like that."""
    with subprocess.Popen([*line], executable=sys.executable, stdin=subprocess.PIPE) as child:
        try:
            yield
        finally:
            child.kill()


def test_only_workers_without_an_actor_are_spares() -> None:
    assert spare._idle() == 0
    wait = ("-c", "input()")
    with (
        process("ray::IDLE", *wait),
        process("ray::ServeReplica:quickchange:Gateway", *wait),
        process("python", *wait, "workers/default_worker.py"),  # one that is only starting
        process("raylet", *wait, "--flag", "workers/default_worker.py"),  # the node manager names it as well
    ):
        assert spare._idle() == 2


@pytest.mark.parametrize("name", warm.MODULES)
def test_what_a_spare_imports_exists(name: str) -> None:
    assert find_spec(name) is not None
