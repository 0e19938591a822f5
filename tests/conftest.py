"""What holds for every run: a seed for what is only sampled, and the signals of a terminal."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.sampling import SEED


def pytest_configure(config: pytest.Config) -> None:
    """Before any worker of xdist starts: they inherit both."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1 << 32)))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background jobs ignore it, and so would the processes that tests start and interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = os.environ[SEED]
    terminalreporter.write_line(f"samples drawn by {SEED}={seed}: set it to draw the same ones again")
