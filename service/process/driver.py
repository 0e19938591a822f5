"""Ray's driver as a process of its own, so that ``quickchange up`` outlives it: Ray ends its driver when it is lost.

    up ── settings, "start", then "stop" | "abandon" ──► driver ── Ray's processes
       ◄─────────── Running(logs) | Refused(reason) ───

Its one argument is the file descriptor of its end of the connection. It dies with ``up``.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from service.process.cluster import Cluster
from service.process.keeper import adopt_orphans, die_with_parent
from service.settings import Settings

START, STOP, ABANDON = "start", "stop", "abandon"
"""What ``up`` may say: start Ray; end everything in order; let requests finish though Ray's own processes are gone.

A driver that waits for its start has its imports done: the one that follows a lost one begins while that one drains.
"""


@dataclass(frozen=True, slots=True)
class Running:
    """The application is deployed."""

    logs: Path
    """Where Ray and Serve log."""
    warnings: tuple[str, ...] = ()
    """What people at the terminal should know of the replicas."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It does not start."""

    reason: str


def drive(connection: Connection) -> None:
    """Start Ray and the application at the word of the parent process, then wait for its word how to end."""
    settings, directory = connection.recv()
    cluster = Cluster(settings, directory)
    cluster.prepare()
    try:
        if connection.recv() != START:
            return
        connection.send(_deployed(cluster, settings))
        order = connection.recv()
    except (EOFError, ConnectionError):  # up is gone
        order = STOP
    if order == ABANDON:
        cluster.abandon()
    else:
        cluster.stop()


def _deployed(cluster: Cluster, settings: Settings) -> Running | Refused:
    from service.serve.app import build  # only now: it imports Ray, which reads the environment that prepare() set

    logs = cluster.start()

    try:
        warnings = cluster.run(build(settings))
    except RuntimeError as error:
        return Refused(f"the service does not start: {_reason(str(error))}\nlogs: {logs}")
    return Running(logs, warnings)


def _reason(account: str) -> str:
    """The one line of Serve's account that says why: the exception of ours, if there is one."""
    lines = [line.strip() for line in account.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("service.errors.")]
    return ours[-1].split(": ", 1)[-1] if ours else lines[-1]


def _terminated(number: int, frame: FrameType | None) -> None:
    """``up`` died, or somebody ends this process alone: as if the connection had closed."""
    raise EOFError


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    die_with_parent(signal.SIGTERM)
    adopt_orphans()
    try:
        drive(Connection(int(sys.argv[1])))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # Ray leaves threads at work
