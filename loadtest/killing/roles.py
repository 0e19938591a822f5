"""Finds the processes of each role in the tree below ``up``, by their command lines."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

SETTLE_S = 20.0
FATAL_S = 75.0
"""Time to observe: longer than the 60 s after which Ray, without its control store, ends all its processes."""
COMMANDS: dict[str, str] = {
    "registry": "adapters_registry",
    "replica": "ServeReplica:quickchange:EngineReplica",
    "gateway": "ServeReplica:quickchange:Gateway",
    "recorder": "ServeReplica:quickchange:Recorder",
    "controller": "ray::ServeController",
    "proxy": "ray::ProxyActor",
    "raylet": "/raylet/raylet",
    "gcs": "gcs_server",
    "dashboard": "dashboard/dashboard.py",
    "agent": "ray::DashboardAgent",
    "runtime-env": "ray::RuntimeEnvAgent",
    "log-monitor": "log_monitor.py",
    "autoscaler": "autoscaler/_private/monitor.py",
    "spare": "ray::IDLE",
    "driver": "service.process.driver",
}
"""Role → a part of the command line that identifies its processes below ``up``."""
KEEPER, SERVICE = "keeper", "service"


@dataclass(frozen=True, slots=True)
class Scene:
    """The processes that are killed in order, and the least time that clients are observed."""

    victims: tuple[str, ...]
    watch_s: float = SETTLE_S


SCENES: dict[str, Scene] = {
    **{role: Scene((role,)) for role in COMMANDS},
    "raylet": Scene(("raylet",), FATAL_S),
    "gcs": Scene(("gcs",), FATAL_S),
    "raylet, then replica": Scene(("raylet", "replica"), FATAL_S),
    SERVICE: Scene((SERVICE,)),
    KEEPER: Scene((KEEPER,)),
}


def find(root: psutil.Process, role: str) -> list[psutil.Process]:
    """The running processes of ``role``; ``root`` is the keeper."""
    if role == KEEPER:
        return [root]
    try:
        below = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if _is(process, role, root)]


def _is(process: psutil.Process, role: str, root: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        line = " ".join(process.cmdline())
        if role == SERVICE:
            return process.ppid() == root.pid and line == " ".join(root.cmdline())
        return COMMANDS[role] in line
    except psutil.Error:
        return False
