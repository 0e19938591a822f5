"""What was taken of quotas within the last minutes, on the disk, so that a restart gives nobody a fresh minute.

    <directory>/29799870.log       one a minute of the clock; of what was taken in it, and given back of it later:

        tokens abcdefghijkl 1787992230.125 120        kind, name, when, how many
        tokens abcdefghijkl 1787992230.125 -80

Each change is one append, which reaches the kernel at once: a process that is killed loses none of them. Nothing is
synced, since after a power loss the minute is over. A directory that cannot be written costs the memory only.
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
    """Of one gateway; belongs to one thread."""

    def __init__(self, directory: Path, gateways: int = 1, clock: Callable[[], float] = time.time) -> None:
        """``clock`` is the wall's. What was borrowed is paid for within as many minutes as there are ``gateways``."""
        self._directory = directory
        self._minutes = gateways + 1
        self._clock = clock
        self._offset_s: float | None = None
        """From the times that callers tell to the wall's; one for the whole life, so that a time is one text."""
        self._file: int | None = None
        self._minute: int | None = None

    def note(self, name: str, kind: str, at: float, amount: int) -> None:
        """``amount`` more, or less, of what was taken at ``at``."""
        assert self._offset_s is not None, "recall comes first"
        line = f"{kind} {quote(name)} {at + self._offset_s:.3f} {amount}\n"
        try:
            os.write(self._file_of_now(), line.encode())
        except OSError as error:
            self._give_up(error)

    def recall(self, now: float) -> dict[tuple[str, str], list[tuple[float, int]]]:
        """What is still taken at ``now`` by name and kind: times, as the caller's clock has them, and amounts."""
        self._offset_s = self._clock() - now
        latest = self._clock() + (self._minutes - 1) * MINUTE_S
        taken: defaultdict[tuple[str, str], defaultdict[float, int]] = defaultdict(lambda: defaultdict(int))
        for name, kind, at, amount in self._lines():
            # A clock that was set back must not charge for longer than the debt may last.
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
                    continue  # the last line of a process that was killed

    def _paths(self) -> list[Path]:
        """Of the minutes that matter, oldest first; older ones are removed."""
        oldest = int(self._clock() // MINUTE_S) - self._minutes
        kept = []
        for path in self._directory.glob("*.log"):
            if path.stem.isdecimal() and int(path.stem) >= oldest:
                kept.append(path)
            else:
                with suppress(OSError):  # it stays, and counts for nothing
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
        """Until the next minute's file; called once per minute."""
        log.warning("cannot write the quota counts: a restart will reset them", extra={"error": str(error)})
        self.close()
        self._file = os.open(os.devnull, os.O_WRONLY)
