"""Keeps Ray and the deployments running: watches the processes that they need, restarts everything if one is lost.

start ──► running ── lost ──► abandon: running requests finish, new ones are refused ──► end what is left ─┐
             ▲                                                                                              │
             └──────────────── started again, a few times, after growing pauses ◄──────────────────────────┘
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from service.dispatch.dispatcher import DRAIN_S
from service.process.cluster import RAY_S, REFUSE_S, SHUTDOWN_S
from service.process.driver import ABANDON, STOP, Refused, Running
from service.process.waiting import POLL_S, CannotStart, Interrupted

LOOK_S = 1.0
PAUSES_S = (0.0, 2.0, 10.0, 30.0)
"""Pauses before each restart after a loss; if the last restart fails as well, the service ends."""
STEADY_S = 300.0
"""After running this long, the service has all its restarts again."""
SPARE_S = 0.5


class Life(Protocol):
    """One run of a driver, with Ray and the application (``service.process.life.DriverLife``)."""

    def go(self) -> None:
        """Start Ray. Until then only the driver runs, which does its imports."""

    def said(self) -> Running | Refused | None:
        """The result of the start; None until it is known."""

    def lost(self) -> str | None:
        """What has ended and will not recover, as text; None if nothing has."""

    def is_ready(self) -> bool:
        """Whether the service answers requests."""

    def end(self, order: str, limit_s: float, stop: threading.Event) -> None:
        """Send the command ``order`` and wait, at most until ``stop`` is set; it may still run afterwards."""

    def kill(self) -> None:
        """Kill the remaining processes."""


class Service:
    """Ray and the application, started, watched and stopped together."""

    def __init__(
        self,
        begin: Callable[[], Life],
        say: Callable[[str], None],
        pauses_s: tuple[float, ...] = PAUSES_S,
        look_s: float = LOOK_S,
    ) -> None:
        """``begin`` starts a driver; ``say`` prints a line for the operator."""
        self._begin = begin
        self._say = say
        self._pauses_s = pauses_s
        self._look_s = look_s
        self._life: Life | None = None

    def start(self, stop: threading.Event) -> Path:
        """Returns Ray's log directory once the application is ready. Raises ``CannotStart`` or ``Interrupted``."""
        return self._start(self._begin(), stop)

    def _start(self, life: Life, stop: threading.Event) -> Path:
        self._life = life
        life.go()
        logs = None
        while logs is None or not self._life.is_ready():
            said = self._life.said()
            if isinstance(said, Refused):
                raise CannotStart(said.reason)
            if isinstance(said, Running):
                logs = said.logs
                for warning in said.warnings:
                    self._say(warning)
            if (lost := self._life.lost()) is not None:
                raise CannotStart(f"{lost} while the service was starting")
            if stop.wait(POLL_S):
                raise Interrupted
        return logs

    def keep(self, stop: threading.Event) -> None:
        """Restart it whenever it is lost, until ``stop`` is set. Raises ``CannotStart`` if that fails."""
        used = 0
        while True:
            began = time.monotonic()
            lost = self._until_lost(stop)
            if lost is None:
                return
            used = self._again(lost, 0 if time.monotonic() - began > STEADY_S else used, stop)

    def stop(self, stop: threading.Event) -> None:
        """Drain and end it; without draining once ``stop`` is set."""
        if self._life is not None:
            self._life.end(STOP, SHUTDOWN_S + RAY_S + SPARE_S, stop)

    def _until_lost(self, stop: threading.Event) -> str | None:
        """What was lost; None if ``stop`` was set first."""
        assert self._life is not None
        while not stop.wait(self._look_s):  # with a timeout, because signals are handled between bytecodes
            if (lost := self._life.lost()) is not None:
                return lost
        return None

    def _again(self, lost: str, used: int, stop: threading.Event) -> int:
        """Restart it; returns the number of restarts since it was last steady."""
        began = time.monotonic()
        self._say(f"{lost}: restarting Ray and the deployments; running requests have {DRAIN_S:g} s to finish")
        assert self._life is not None
        lives = self._pauses_s[used:]
        following = self._begin() if lives else None  # its imports take seconds, while the other driver drains
        self._life.end(ABANDON, DRAIN_S + 2 * REFUSE_S, stop)
        for number, pause_s in enumerate(lives, used + 1):
            self._life.kill()
            if stop.wait(pause_s):
                raise Interrupted
            try:
                self._start(following or self._begin(), stop)
            except CannotStart as error:
                self._say(f"start {number} of {len(self._pauses_s)} failed: {error}")
                following = None
            else:
                self._say(f"serving again after {time.monotonic() - began:.0f} s")
                return number
        raise CannotStart(f"{lost}, and the service could not be started again")
