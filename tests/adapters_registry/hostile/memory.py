"""How much memory a process takes, watched while something goes on."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Memory(threading.Thread):
    """The largest resident set of a process between ``start`` and ``stop``, looked at every few milliseconds."""

    def __init__(self, process: int | str = "self") -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{process}/statm")
        self._done = threading.Event()
        self._before = self._peak = 0

    def start(self) -> None:
        self._before = self._peak = self._resident()
        super().start()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self._peak = max(self._peak, self._resident())

    def stop(self) -> None:
        self._done.set()
        self.join()

    @property
    def growth_bytes(self) -> int:
        return self._peak - self._before

    def _resident(self) -> int:
        return int(self._status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
