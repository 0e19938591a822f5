"""One run of Ray's driver and of all processes below it, as controlled by ``quickchange up``."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

import psutil

from service.process import vital
from service.process.driver import START, Refused, Running
from service.process.keeper import end_descendants
from service.process.ray_directory import forget_sessions
from service.process.waiting import POLL_S, CannotStart, answers, foreign_registry
from service.settings import Settings

logger = logging.getLogger(__name__)

PROGRAM = "from service.process.driver import main; main()"
"""Not ``-m``: the classes that it sends must be of the module that this process imports."""
LOOK_S = 0.9
PROBE_S = 5.0
PROBE_LIMIT_S = 2.0
READY_S = 120.0
"""Bounds the time from the deployment until the application is ready."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a driver runs, and what is stored next to it."""

    settings: Settings
    url: str
    """The gateway's address."""
    directory: Path
    """Ray's directory, which is private."""
    output: Path
    """File for the output of Ray and its driver."""
    spared: Callable[[], Collection[int]]
    """Ids of the processes below this one that are not Ray's."""
    drivers: set[int] = field(default_factory=set)
    """Ids of drivers that were not killed yet; one may drain while the next one is prepared."""


class DriverLife:
    """A driver process from its start to the end of everything below it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._watch = vital.Watch()
        self._look_at = self._probe_at = 0.0
        self._deployed_at: float | None = None
        self._was_ready = False
        _rotate(place.output, place.settings.logs.file_bytes)
        self._connection, theirs = Pipe()
        with theirs, place.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
            )
        place.drivers.add(self._process.pid)
        self._send((place.settings, place.directory))

    def go(self) -> None:
        """Start Ray. Until then only the driver runs, which does its imports."""
        forget_sessions(self._place.directory)
        self._send(START)

    def said(self) -> Running | Refused | None:
        """The result of the start; None until it is known."""
        try:
            said = self._connection.recv() if self._connection.poll() else None
        except (EOFError, ConnectionError):
            return Refused(f"the service does not start: Ray's driver ended; see {self._place.output}")
        if isinstance(said, Running):
            self._deployed_at = time.monotonic()
        assert said is None or isinstance(said, Running | Refused)
        return said

    def lost(self) -> str | None:
        """What has ended and will not recover; the processes and the service are not checked at every call.

        Raises ``CannotStart`` if a new start would not help.
        """
        if (code := self._process.poll()) is not None:
            return f"Ray's driver ended with {code}"
        now = time.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_S
        lost = self._watch.processes(vital.find(psutil.Process(self._process.pid)), now)
        if lost is None and self._was_ready and now >= self._probe_at:
            lost = self._unready(now)
            self._probe_at = time.monotonic() + PROBE_S
        if lost is None and self._deployed_at is not None and not self._was_ready:
            late = now - self._deployed_at > READY_S
            return f"the service was deployed, but not ready within {READY_S:g} s" if late else None
        return lost

    def is_ready(self) -> bool:
        """Whether the gateway reports that it is ready."""
        self._was_ready = answers(f"{self._place.url}/ready", PROBE_LIMIT_S)
        return self._was_ready

    def end(self, order: str, limit_s: float, stop: threading.Event) -> None:
        """Send the command ``order`` and wait, at most until ``stop`` is set; it may still run afterwards."""
        self._send(order)
        deadline = time.monotonic() + limit_s
        while self._process.poll() is None and time.monotonic() < deadline and not stop.wait(POLL_S):
            pass

    def kill(self) -> None:
        """Kill its remaining processes and Ray's."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._place.drivers.discard(self._process.pid)
        end_descendants({*self._place.spared(), *self._place.drivers})

    def _unready(self, now: float) -> str | None:
        registry = self._place.settings.registry
        if self._place.settings.registry_url is None:
            foreign = foreign_registry(registry, self._place.settings.registry_bearer)
            if foreign is not None:
                raise CannotStart(f"{foreign}: its own could not be started again on that port")
        ready = answers(f"{self._place.url}/ready", PROBE_LIMIT_S)
        known = ready or answers(f"{registry}/health", PROBE_LIMIT_S)
        return self._watch.readiness(ready, known, now)

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            logger.info("the driver has ended")


def _rotate(output: Path, most_bytes: int) -> None:
    """Begin a new file if this one exceeds its bound."""
    if output.exists() and output.stat().st_size > most_bytes:
        output.replace(output.with_name(f"{output.name}.1"))
