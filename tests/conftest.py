"""What holds for every run: a seed for what is only sampled, the signals of a terminal, and who shares a worker."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.sampling import SEED

HERE = Path(__file__).parent
SHARED = {"up": ("keyed_up",), "small": ("plane",), "lives": ()}
"""Fixtures that last for a session and take long: the tests of each run on one worker, and begin first. Behind it are
fixtures that leave it changed: tests that need them come last."""


def pytest_configure(config: pytest.Config) -> None:
    """Before any worker of xdist starts: they inherit both."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1 << 32)))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background jobs ignore it, and so would the processes that tests start and interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file is a group, as is each of ``SHARED``: xdist gives a group to one worker."""
    groups = [*SHARED]
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
        if item.get_closest_marker("acceptance") or item.get_closest_marker("cores"):
            # They share a process: garbage collection ends clients' sockets of the former in any of them.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
    items.sort(key=lambda item: _place(item, groups))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = os.environ[SEED]
    terminalreporter.write_line(f"samples drawn by {SEED}={seed}: set it to draw the same ones again")


def _group(item: pytest.Item) -> str:
    needs = getattr(item, "fixturenames", ())
    return next((name for name in SHARED if name in needs), str(item.path.relative_to(HERE)))


def _place(item: pytest.Item, groups: list[str]) -> tuple[int, bool]:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    (name,) = marker.args
    if name not in groups:
        return len(groups), False
    last = any(fixture in getattr(item, "fixturenames", ()) for fixture in SHARED[name])
    return groups.index(name), last
