"""Keeping and supervising real processes: nothing outlives its keeper, and the dead are started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from service.process.child import Child

KEEPER = """
import os, signal, subprocess, sys, time
from service.process.keeper import keep

def service():
    orphan = "import os, sys, time; os.fork() and sys.exit(); "
    orphan += "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    subprocess.run([sys.executable, "-c", orphan, sys.argv[1] + ".orphan"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    open(sys.argv[1], "w").write(str(os.getpid()))
    try:
        while True:
            time.sleep(0.05)
    except SystemExit as end:
        return end.code

sys.exit(keep(service))
"""


def eventually(look: Callable[[], object]) -> None:
    for _ in range(2000):
        if look():
            return
        time.sleep(0.01)
    pytest.fail("never")


def read_pid(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def lives(child: Child, starts: int) -> bool:
    return child.starts == starts and child._process is not None and child._process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(tmp_path: Path, number: signal.Signals) -> None:
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path / "pid")], process_group=0)
    service, orphan = read_pid(tmp_path / "pid"), read_pid(tmp_path / "pid.orphan")
    if number == signal.SIGKILL:  # of the service: the keeper cleans up after it
        os.kill(service, number)
    else:
        os.killpg(keeper.pid, number)
    assert keeper.wait(60) == (number if number == signal.SIGKILL else 7)
    assert not psutil.pid_exists(service)
    assert not psutil.pid_exists(orphan)


def test_a_child_that_dies_is_started_again_until_stopped() -> None:
    child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"])
    child.start()
    for starts in (1, 2):
        eventually(partial(lives, child, starts))
        assert child._process is not None
        child._process.kill()
    eventually(lambda: child.starts == 3)
    child.stop()
    assert child._process is not None
    assert child._process.poll() is not None
    assert not any(thread.name == "sleeper" for thread in threading.enumerate())
