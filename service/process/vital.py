"""Which of Ray's processes the service needs, and from what they look like, whether it must be started again.

``find`` looks at the processes, ``Watch`` decides. Ray starts again what is not here: replicas, proxies, and a
controller as long as its control store and node manager live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

CONTROL_STORE, NODE_MANAGER, CONTROLLER = "Ray's control store", "Ray's node manager", "Ray Serve's controller"
COMMANDS = {CONTROL_STORE: "/gcs_server", NODE_MANAGER: "/raylet/raylet", CONTROLLER: "ray::ServeController"}
"""In the first word of the command line."""
CONTROLLER_S = 20.0
"""How long the controller may be away: Ray starts it again in two to five seconds."""
STOPPED_S = 15.0
"""How long a process may be stopped (SIGSTOP, a debugger) before it counts as dead."""
UNREADY_S = 90.0
"""How long the service may say that it is not ready while its registry answers: Serve replaces a replica in less."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One living process that the service needs."""

    pid: int
    stopped: bool


def find(root: psutil.Process) -> dict[str, Vital]:
    """The vital processes below ``root``, by name; what is not there is left out."""
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
    """Told from time to time what there is, says what the service will not recover from. Times are in seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        """When a symptom was first seen that has been there since."""
        self._seen: set[str] = set()

    def processes(self, found: Mapping[str, Vital], now_s: float) -> str | None:
        """What has died, if the service cannot recover from it by itself."""
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
        """Whether it is not ready for so long, through no fault of the registry's, that something must hang."""
        if self._lasts("not ready", not ready and registry_answers, now_s, UNREADY_S):
            return f"the service was not ready for {UNREADY_S:g} s"
        return None

    def _lasts(self, symptom: str, there: bool, now_s: float, limit_s: float) -> bool:
        if not there:
            self._since.pop(symptom, None)
            return False
        return now_s - self._since.setdefault(symptom, now_s) >= limit_s
