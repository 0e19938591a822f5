"""Ray's driver as a separate process, so that ``quickchange up`` outlives it: if Ray fails, it ends its driver.

    up ── settings, "start", then "stop" | "abandon" ──► driver ── Ray's processes
       ◄─────────── Running(logs) | Refused(reason) ───

Its only argument is the file descriptor of its end of the connection. It is ended with ``up``.
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
"""Commands of ``up``: start Ray; end everything in order; let requests finish although Ray's own processes ended.

A driver does its imports before it waits for ``START``, so a new driver is prepared while a failed one drains.
"""


@dataclass(frozen=True, slots=True)
class Running:
    """The application is deployed."""

    logs: Path
    """Directory of Ray's and Serve's logs."""
    warnings: tuple[str, ...] = ()
    """Warnings of the replicas for the terminal."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The application cannot be started."""

    reason: str


def drive(connection: Connection) -> None:
    """Start Ray and the application on the parent's command, then wait for its command to end."""
    settings, directory = connection.recv()
    cluster = Cluster(settings, directory)
    cluster.prepare()
    try:
        if connection.recv() != START:
            return
        connection.send(_deployed(cluster, settings))
        order = connection.recv()
    except (EOFError, ConnectionError):  # up has ended
        order = STOP
    if order == ABANDON:
        cluster.abandon()
    else:
        cluster.stop()


def _deployed(cluster: Cluster, settings: Settings) -> Running | Refused:
    from service.serve.app import build  # not earlier: it imports Ray, which reads the environment that prepare() set

    logs = cluster.start()

    try:
        warnings = cluster.run(build(settings))
    except RuntimeError as error:
        return Refused(f"the service does not start: {_reason(str(error))}\nlogs: {logs}")
    return Running(logs, warnings)


def _reason(account: str) -> str:
    """The line of Serve's messages with the reason: the exception of this project, if there is one."""
    lines = [line.strip() for line in account.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("service.errors.")]
    return ours[-1].split(": ", 1)[-1] if ours else lines[-1]


def _terminated(number: int, frame: FrameType | None) -> None:
    """``up`` died, or this process alone is terminated: handled like a closed connection."""
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
        os._exit(0)  # Ray leaves threads running
