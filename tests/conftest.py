"""What holds for every run: a seed for what is only sampled, the signals of a terminal, and groups of tests."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests import groups
from tests.sampling import SEED


def pytest_configure(config: pytest.Config) -> None:
    """Before any worker of xdist starts: they inherit both."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1 << 32)))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background jobs ignore it, and so would the processes that tests start and interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before xdist's own hook, which reads the groups."""
    for item in items:
        groups.mark(item)
    items.sort(key=groups.place)


@pytest.hookimpl(specname="pytest_collection_modifyitems", trylast=True)
def check_groups(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without its groups each worker would start each service."""
    if getattr(config.option, "loadgroup", False) and not all("@" in item.nodeid for item in items):
        raise pytest.UsageError("This pytest-xdist does not send its groups with this pytest: see pyproject.toml.")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    try:
        return (yield)
    finally:
        if nextitem is None or groups.group(nextitem) != groups.group(item):
            groups.end(groups.group(item))


def pytest_sessionfinish() -> None:
    """What a run that was interrupted left."""
    groups.end_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = os.environ[SEED]
    terminalreporter.write_line(f"samples drawn by {SEED}={seed}: set it to draw the same ones again")
