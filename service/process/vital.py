"""The processes of Ray that the service needs, and whether their state requires a restart of the service.

``find`` reads the processes, ``Watch`` decides. Ray itself restarts all others: replicas, proxies, and the controller
while control store and node manager run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

CONTROL_STORE, NODE_MANAGER, CONTROLLER = "Ray's control store", "Ray's node manager", "Ray Serve's controller"
COMMANDS = {CONTROL_STORE: "/gcs_server", NODE_MANAGER: "/raylet/raylet", CONTROLLER: "ray::ServeController"}
"""Part of the first word of the command line, by process."""
CONTROLLER_S = 20.0
"""Bounds the absence of the controller, which Ray restarts in two to five seconds."""
STOPPED_S = 15.0
"""After this time, a stopped process (SIGSTOP, a debugger) counts as dead."""
UNREADY_S = 90.0
"""Bounds how long the service may be not ready while its registry answers; Serve replaces a replica faster."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One running process that the service needs."""

    pid: int
    stopped: bool


def find(root: psutil.Process) -> dict[str, Vital]:
    """The existing vital processes below ``root``, by name."""
    found = {}
    try:
        below = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return {}
    for process in below:
        try:
            if (name := _name(process)) is not None and (status := process.status()) != psutil.STATUS_ZOMBIE:
                found[name] = Vital(process.pid, status == psutil.STATUS_STOPPED)
        except psutil.Error:
            continue
    return found


def _name(process: psutil.Process) -> str | None:
    first = next(iter(process.cmdline()), "")
    return next((name for name, part in COMMANDS.items() if part in first), None)


class Watch:
    """Detects failures from which the service does not recover, from repeated observations. Times are in seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        """Symptom → time since which it is present."""
        self._seen: set[str] = set()

    def processes(self, found: Mapping[str, Vital], now_s: float) -> str | None:
        """The process that has died, if the service cannot recover by itself; otherwise None."""
        self._seen |= found.keys()
        for name in (CONTROL_STORE, NODE_MANAGER):
            if name in self._seen and name not in found:
                return f"{name} died"
        for name in COMMANDS:
            if self._lasts(f"{name} stopped", name in found and found[name].stopped, now_s, STOPPED_S):
                return f"{name} has been stopped for {STOPPED_S:g} s"
        if self._lasts("no controller", CONTROLLER in self._seen and CONTROLLER not in found, now_s, CONTROLLER_S):
            return f"{CONTROLLER} died and was not started again within {CONTROLLER_S:g} s"
        return None

    def readiness(self, ready: bool, registry_answers: bool, now_s: float) -> str | None:
        """A message if the service is not ready for too long although the registry answers; otherwise None."""
        if self._lasts("not ready", not ready and registry_answers, now_s, UNREADY_S):
            return f"the service was not ready for {UNREADY_S:g} s"
        return None

    def _lasts(self, symptom: str, there: bool, now_s: float, limit_s: float) -> bool:
        if not there:
            self._since.pop(symptom, None)
            return False
        return now_s - self._since.setdefault(symptom, now_s) >= limit_s
