"""Appends feedback in processes that are killed at one call to the disk; tells what was acknowledged.

Run as ``python -m tests.service.feedback.crash_child DIRECTORY`` with one JSON list a line on standard input:
directory, number of the call, phase. Answers each with a line: ids acknowledged, whether it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from service.feedback.disk import Disk
from service.feedback.events import FeedbackEvent
from service.feedback.log import FeedbackLog
from tests.service.feedback.examples import OPTIONS, event, good, response

ROUNDS = 8
PHASES = ("before", "within", "after")
"""Of a call: killed before it, in the middle of a write, after it."""


def batches(number: int) -> list[list[FeedbackEvent]]:
    """What is submitted at once in a round: single events and a batch, all keyed."""
    events = [event(good(f"r{number}", key=f"{number}.{i}")) for i in range(5)]
    return [events[:1], events[1:4], events[4:]]


class KillingDisk(Disk):
    """Kills its process at call ``number``."""

    def __init__(self, number: int, phase: str) -> None:
        self._left = number
        self._phase = phase

    def create(self, path: Path) -> int:
        self._step("before")
        file = super().create(path)
        self._done()
        return file

    def write(self, file: int, data: bytes, position: int) -> None:
        self._step("before")
        if self._left == 0 and self._phase == "within":
            super().write(file, data[: len(data) // 2], position)
            self._step("within")
        super().write(file, data, position)
        self._done()

    def sync(self, file: int) -> None:
        self._step("before")
        super().sync(file)
        self._done()

    def truncate(self, file: int, size: int) -> None:
        self._step("before")
        super().truncate(file, size)
        self._done()

    def sync_directory(self, path: Path) -> None:
        self._step("before")
        super().sync_directory(path)
        self._done()

    def _step(self, phase: str) -> None:
        if self._left == 0 and self._phase == phase:
            os.kill(os.getpid(), signal.SIGKILL)

    def _done(self) -> None:
        # A call without a middle is killed after it.
        if self._left == 0 and self._phase != "before":
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def work(directory: Path, disk: Disk, told: int) -> None:
    """Append everything; each acknowledged id goes to the pipe ``told`` at once."""
    log = FeedbackLog(directory, OPTIONS, disk)
    for number in range(ROUNDS):
        records = {f"r{number}": response(f"r{number}")}
        for receipts in [log.submit(batch, records) for batch in batches(number)]:
            for receipt in receipts.result():
                os.write(told, f"{receipt.id}\n".encode())
    log.close()


def main() -> None:
    for line in sys.stdin:
        directory, number, phase = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            work(Path(directory), KillingDisk(number, phase), writing)
            os._exit(0)
        os.close(writing)
        with open(reading, encoding="ascii") as pipe:
            acknowledged = pipe.read().split()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and status:
            sys.exit("a child failed")
        print(json.dumps({"acknowledged": acknowledged, "killed": killed}), flush=True)


if __name__ == "__main__":
    main()
