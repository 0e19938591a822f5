"""Stand-ins for the child, which misbehave as no artifact can make ours: run as a module with the misdeed's name."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from adapters_registry import check_child
from adapters_registry.check_child import READY, Job, confine

SECRET = "QUICKCHANGE_REGISTRY_DATABASE_URL"


def _ready() -> None:
    os.write(1, READY)


def hang() -> None:
    """Ready, then silent."""
    _ready()
    time.sleep(600)


def hang_at_start() -> None:
    """Never ready."""
    time.sleep(600)


def linger() -> None:
    """Closes its output, but does not end."""
    _ready()
    os.close(1)
    time.sleep(600)


def garble() -> None:
    """Something else than an answer."""
    os.write(1, READY + b"\x80\x04 no answer at all")


def flood() -> None:
    """An answer without an end."""
    _ready()
    while True:
        os.write(1, b" " * 65536)


def stay_silent() -> None:
    """Ends well, without an answer."""
    _ready()


def fail_at_start() -> None:
    """As a broken installation would."""
    raise SystemExit(3)


def fail() -> None:
    """Ends badly."""
    _ready()
    os._exit(3)


def crash() -> None:
    """As a defect in a library's C code would."""
    _ready()
    os.kill(os.getpid(), signal.SIGSEGV)


def be_killed() -> None:
    """As by the kernel when memory runs out."""
    _ready()
    os.kill(os.getpid(), signal.SIGKILL)


def answer_another() -> None:
    """A good answer to another question."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    other = job.base.model_copy(update={"digest": "sha256:" + "f" * 64})
    _ready()
    text = check_child.answer(job.model_copy(update={"base": other})).model_dump_json()
    os.write(1, text.encode())


def hurry() -> None:
    """No misdeed: the real check, with one second of processor time however long it may take by the clock."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    confine(job.limits.model_copy(update={"check_s": 2.0}))
    _ready()
    os.write(1, check_child.answer(job).model_dump_json().encode())


def allocate() -> None:
    """Takes all the memory that it is given."""
    confine(Job.model_validate_json(sys.stdin.buffer.read()).limits)
    _ready()
    taken = []
    while True:
        taken.append(b"x" * (16 << 20))


def escape() -> None:
    """Answers well if, once confined, there is no way out and no secret within; says how it got out otherwise."""
    assert SECRET not in os.environ
    job = Job.model_validate_json(sys.stdin.buffer.read())
    confine(job.limits)
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write": lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY),
        "connect": socket.socket,
        "pipe": os.pipe,
    }
    if os.geteuid():  # the bound on processes does not hold for root
        ways["fork"] = os.fork
    for name, way in ways.items():
        try:
            way()
        except OSError:
            continue
        raise SystemExit(name)
    _ready()
    os.write(1, check_child.answer(job).model_dump_json().encode())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
