"""Runs a service in a separate process: passes signals to it, and ends all its processes when it ends.

shell ── keeper ── service ── registry, Ray's processes
                   └─ a separate session: Ctrl-C at the terminal reaches only the keeper, which signals the service;
                      the service's children do not get it, so they can finish their work
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import psutil

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_S = 13.0
"""How long the service may take to stop before all of it is killed."""
END_S = 1.0
POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


def keep(service: Callable[[], int]) -> int:
    """Run ``service`` in a child process and pass it the stop signals; returns its exit code.

    When the service ends, even if it is killed, all processes that it started are ended. Call it before any thread
    is started.
    """
    adopt_orphans()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        die_with_parent(signal.SIGTERM)
        if os.getppid() != keeper:  # the keeper died before this process watched it
            os._exit(1)
        adopt_orphans()
        code = service()
        sys.stderr.flush()
        os._exit(code)  # an interrupted start leaves threads running
    with _passed_on(pid) as signalled:
        code = _wait(pid, signalled)
    end_descendants()
    return code


def end_descendants(spared: Collection[int] = ()) -> None:
    """End every process below this one, including adopted orphans, except ``spared`` and the processes below them."""
    below = _below(psutil.Process(), spared)
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(below, timeout=END_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=END_S)


def _below(process: psutil.Process, spared: Collection[int]) -> list[psutil.Process]:
    left_out, found = set(spared), []
    for below in process.children(recursive=True):  # parents before their children
        with suppress(psutil.NoSuchProcess):
            if below.pid in left_out or below.ppid() in left_out:
                left_out.add(below.pid)
            else:
                found.append(below)
    return found


def adopt_orphans() -> None:
    """Make this process the new parent of orphaned processes below it (Linux; no effect elsewhere)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int) -> None:
    """Have the kernel send this process ``number`` when its starting thread ends (Linux; no effect elsewhere)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


@contextmanager
def _passed_on(pid: int) -> Iterator[list[float]]:
    """Sends the service SIGTERM for every stop signal; yields the list of their times."""
    times: list[float] = []

    def pass_on(*_: object) -> None:
        times.append(time.monotonic())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    before = [(number, signal.signal(number, pass_on)) for number in STOP_SIGNALS]
    try:
        yield times
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _wait(pid: int, signalled: list[float]) -> int:
    """The service's exit code; kills it ``STOP_S`` after the first signal."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return abs(os.waitstatus_to_exitcode(status))
        if signalled and time.monotonic() - signalled[0] > STOP_S:
            os.kill(pid, signal.SIGKILL)
        if ended == 0:
            time.sleep(POLL_S)
