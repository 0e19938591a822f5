"""Keeps Ray and the deployments running: watches the processes that they need and starts all of it again.

start ──► running ── lost ──► abandon: running requests finish, new ones are refused ──► end what is left ─┐
             ▲                                                                                              │
             └──────────────── started again, a few times, after growing pauses ◄──────────────────────────┘
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from multiprocessing import Pipe
from pathlib import Path

import psutil

from service import vital
from service.channel import DRAIN_S
from service.cluster import RAY_S, REFUSE_S, SHUTDOWN_S
from service.driver import ABANDON, STOP, Refused, Running
from service.keeper import end_descendants
from service.ray_directory import forget_sessions
from service.settings import Settings
from service.waiting import POLL_S, CannotStart, Interrupted, answers, await_answer

logger = logging.getLogger(__name__)

PROGRAM = "from service.driver import main; main()"
"""Not ``-m``: what it sends must be of the module that this process imports."""
READY_S = 120.0
LOOK_S = 1.0
PROBE_S = 5.0
PROBE_LIMIT_S = 2.0
PAUSES_S = (0.0, 2.0, 10.0, 30.0)
"""Before each start after a loss; when the last has failed, too, the service is given up."""
STEADY_S = 300.0
"""A service that lived this long has all its starts before it again."""
SPARE_S = 0.5


class Driver:
    """One life of Ray's driver and of everything below it, as ``up`` sees it."""

    def __init__(self, settings: Settings, directory: Path, output: Path) -> None:
        """What Ray prints on the driver's terminal goes to the file ``output``."""
        self._connection, theirs = Pipe()
        with theirs, output.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[theirs.fileno()],
            )
        self._tell((settings, directory))

    def said(self) -> Running | Refused | None:
        """How the start went; None as long as it is under way. Raises ``EOFError`` once the driver is gone."""
        try:
            return self._connection.recv() if self._connection.poll() else None
        except ConnectionError as error:
            raise EOFError from error

    def end(self, order: str, limit_s: float, stop: threading.Event) -> None:
        """Tell it how to end and wait, until ``stop`` is set at most; it may live on."""
        self._tell(order)
        deadline = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < deadline and not stop.wait(POLL_S):
            pass

    def bury(self) -> None:
        """Kill it if it lives, and close what belongs to it."""
        self.process.kill()
        self.process.wait()
        self._connection.close()

    def _tell(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            logger.warning("the driver is gone")


class Service:
    """Ray and the application on it, as one thing that is started, watched and stopped."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        directory: Path,
        output: Path,
        say: Callable[[str], None],
        spared: Callable[[], Collection[int]],
    ) -> None:
        """``directory`` is for Ray; ``spared()`` are the processes below this one that are not Ray's."""
        self._settings = settings
        self._url = url
        self._directory = directory
        self._output = output
        self._say = say
        self._spared = spared
        self._driver: Driver | None = None
        self._watch = vital.Watch()

    def start(self, stop: threading.Event) -> Path:
        """Returns Ray's directory of logs once the application is deployed and ready."""
        forget_sessions(self._directory)
        self._watch = vital.Watch()
        self._driver = driver = Driver(self._settings, self._directory, self._output)
        logs = self._deployed(driver, stop)
        await_answer(f"{self._url}/ready", READY_S, stop, status=200)
        return logs

    def keep(self, stop: threading.Event) -> None:
        """Start it again whenever it is lost, until ``stop`` is set; raises ``CannotStart`` when that fails."""
        deaths = 0
        while True:
            began = time.monotonic()
            lost = self._until_lost(stop)
            if lost is None:
                return
            deaths = 0 if time.monotonic() - began > STEADY_S else deaths
            deaths = self._again(lost, deaths, stop)

    def stop(self, stop: threading.Event) -> None:
        """Drain and end it; at once when ``stop`` is set."""
        if self._driver is not None:
            self._driver.end(STOP, SHUTDOWN_S + RAY_S + SPARE_S, stop)

    def _again(self, lost: str, deaths: int, stop: threading.Event) -> int:
        """Starts it again; returns how many starts that took in all since it last was steady."""
        began = time.monotonic()
        self._say(f"{lost}: starting Ray and the deployments again; running requests get {DRAIN_S:g} s")
        assert self._driver is not None
        self._driver.end(ABANDON, DRAIN_S + 2 * REFUSE_S, stop)
        for tries, pause_s in enumerate(PAUSES_S[deaths:], deaths + 1):
            self._driver.bury()
            end_descendants(self._spared())
            if stop.wait(pause_s):
                raise Interrupted
            try:
                self.start(stop)
            except CannotStart as error:
                self._say(f"start {tries} of {len(PAUSES_S)} failed: {error}")
            else:
                self._say(f"serving again after {time.monotonic() - began:.0f} s")
                return tries
        raise CannotStart(f"the service was lost ({lost}) and could not be started again")

    def _deployed(self, driver: Driver, stop: threading.Event) -> Path:
        look_at = 0.0
        while True:
            try:
                said = driver.said()
            except EOFError:
                said = Refused(f"the service does not start: its driver ended; see {self._output}")
            match said:
                case Running(logs):
                    return logs
                case Refused(reason):
                    raise CannotStart(reason)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_S
                if (lost := self._lost_process(driver)) is not None:
                    raise CannotStart(f"{lost} while the service was starting; see {self._output}")
            if stop.wait(POLL_S):
                raise Interrupted

    def _until_lost(self, stop: threading.Event) -> str | None:
        """What was lost; None when ``stop`` came first."""
        assert self._driver is not None
        probe_at = 0.0
        while not stop.wait(LOOK_S):  # not for ever: a signal is heard between bytecodes
            lost = self._lost_process(self._driver)
            if lost is None and time.monotonic() >= probe_at:
                lost = self._unready()
                probe_at = time.monotonic() + PROBE_S
            if lost is not None:
                return lost
        return None

    def _lost_process(self, driver: Driver) -> str | None:
        if (code := driver.process.poll()) is not None:
            return f"Ray's driver ended with {code}"
        found = vital.find(psutil.Process(driver.process.pid))
        return self._watch.processes(found, time.monotonic())

    def _unready(self) -> str | None:
        ready = answers(f"{self._url}/ready", PROBE_LIMIT_S)
        known = ready or answers(f"{self._settings.registry}/health", PROBE_LIMIT_S)
        return self._watch.readiness(ready, known, time.monotonic())
