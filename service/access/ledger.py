"""Quota use of the last minutes on disk, so that a restart does not reset quotas.

    <directory>/29799870.log       one per minute of the clock; amounts taken in it, and amounts returned later:

        tokens abcdefghijkl 1787992230.125 120        kind, name, when, how many
        tokens abcdefghijkl 1787992230.125 -80

Each change is one append, which reaches the kernel at once, so a killed process loses nothing. Nothing is synced:
after a power loss the minute is over. If the directory cannot be written, only restarts reset quotas.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from service.access.minute import MINUTE_S

log = logging.getLogger(__name__)


class FileLedger:
    """The files of one gateway; belongs to one thread."""

    def __init__(self, directory: Path, gateways: int = 1, clock: Callable[[], float] = time.time) -> None:
        """``clock`` is wall time. Borrowed amounts are paid back within as many minutes as there are ``gateways``."""
        self._directory = directory
        self._minutes = gateways + 1
        self._clock = clock
        self._offset_s: float | None = None
        """Difference from callers' times to wall time; constant, so that a time is always written the same."""
        self._file: int | None = None
        self._minute: int | None = None

    def note(self, name: str, kind: str, at: float, amount: int) -> None:
        """Record that ``amount`` was taken at ``at``, or returned if negative."""
        assert self._offset_s is not None, "recall comes first"
        line = f"{kind} {quote(name)} {at + self._offset_s:.3f} {amount}\n"
        try:
            os.write(self._file_of_now(), line.encode())
        except OSError as error:
            self._give_up(error)

    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        """(name, kind) → (time, amount) of what still counts at ``now``; times are on the caller's clock."""
        self._offset_s = self._clock() - now
        latest = self._clock() + (self._minutes - 1) * MINUTE_S
        taken: defaultdict[tuple[str, str], defaultdict[float, int]] = defaultdict(lambda: defaultdict(int))
        for name, kind, at, amount in self._lines():
            # If the clock was set back, amounts must not count for longer than a debt can last.
            taken[name, kind][min(at, latest)] += amount
        return {key: kept for key, found in taken.items() if (kept := self._kept(found))}

    def _kept(self, found: dict[float, int]) -> list[tuple[float, int]]:
        assert self._offset_s is not None
        over = self._clock() - MINUTE_S
        return [(at - self._offset_s, amount) for at, amount in sorted(found.items()) if at > over and amount > 0]

    def _lines(self) -> Iterator[tuple[str, str, float, int]]:
        for path in self._paths():
            try:
                text = path.read_text(errors="replace")
            except OSError as error:
                log.warning("cannot read the quota counts", extra={"error": str(error)})
                continue
            for line in text.splitlines():
                try:
                    kind, name, at, amount = line.split(" ")
                    yield unquote(name), kind, float(at), int(amount)
                except ValueError:
                    continue  # the incomplete last line of a killed process

    def _paths(self) -> list[Path]:
        """Files of minutes that still count, oldest first; older files are removed."""
        oldest = int(self._clock() // MINUTE_S) - self._minutes
        kept = []
        for path in self._directory.glob("*.log"):
            if path.stem.isdecimal() and int(path.stem) >= oldest:
                kept.append(path)
            else:
                with suppress(OSError):  # the file remains and does not count
                    path.unlink()
        return sorted(kept, key=lambda path: int(path.stem))

    def _file_of_now(self) -> int:
        minute = int(self._clock() // MINUTE_S)
        if self._file is None or minute != self._minute:
            self.close()
            self._minute = minute
            self._directory.mkdir(parents=True, exist_ok=True)
            self._paths()
            path = self._directory / f"{minute}.log"
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _give_up(self, error: OSError) -> None:
        """Stop writing until the next minute's file; called at most once per minute."""
        log.warning("cannot write the quota counts: a restart will reset them", extra={"error": str(error)})
        self.close()
        self._file = os.open(os.devnull, os.O_WRONLY)
