"""Runs a service in a process of its own and answers for it: signals go in, nothing stays behind.

shell ── keeper ── service ── registry, Ray's processes
                   └─ a session of its own: a Ctrl-C at the terminal reaches the keeper only, which tells the
                      service; the service's children never hear it, so they can finish what they do
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

    Whatever the service has started is ended when it ends, also when it was killed. Call it before there are
    threads.
    """
    adopt_orphans()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        die_with_parent(signal.SIGTERM)
        if os.getppid() != keeper:  # it died before it could be watched
            os._exit(1)
        adopt_orphans()
        code = service()
        sys.stderr.flush()
        os._exit(code)  # a start that was interrupted leaves threads at work
    with _passed_on(pid) as signalled:
        code = _wait(pid, signalled)
    end_descendants()
    return code


def end_descendants(spared: Collection[int] = ()) -> None:
    """End every process below this one, orphans it adopted included; not those ``spared`` and what is below them."""
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
    for below in process.children(recursive=True):  # parents come before their children
        with suppress(psutil.NoSuchProcess):
            if below.pid in left_out or below.ppid() in left_out:
                left_out.add(below.pid)
            else:
                found.append(below)
    return found


def adopt_orphans() -> None:
    """Have processes below this one, whose parent dies, become its children (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int) -> None:
    """Have the kernel send us ``number`` when the thread that started us ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


@contextmanager
def _passed_on(pid: int) -> Iterator[list[float]]:
    """The service gets SIGTERM for every stop signal; yields the times they came."""
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
