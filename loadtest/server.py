"""Starts a service for a measurement, waits until it is ready, pushes to it, and stops it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from loadtest.errors import ServiceNotReached

START_S = 300
MARK = "LOADTEST_RUN"
"""Environment variable that marks every process of a started service."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A started service and its addresses."""

    url: str
    registry: str
    base: str
    mark: str

    def memory_bytes(self) -> int:
        """Sum of the resident memory of its processes; shared pages count in each."""
        return sum(_resident_bytes(process, self.mark) for process in psutil.process_iter())

    def push(self, folder: Path, name: str) -> None:
        """Push a PEFT folder and wait until the gateway knows it."""
        command = [sys.executable, "-m", "service", "push", str(folder), name, "--registry", self.registry]
        subprocess.run(command, check=True, capture_output=True)
        deadline = time.monotonic() + 30
        while httpx.get(f"{self.url}/v1/models/{name}").status_code != 200:
            if time.monotonic() > deadline:
                raise ServiceNotReached(f"the gateway did not learn of {name}")
            time.sleep(0.1)


@contextmanager
def running_service(
    data_dir: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[RunningService]:
    """``quickchange up`` on free ports, stopped with SIGTERM at the end."""
    port, registry_port, mark = free_port(), free_port(), uuid.uuid4().hex
    command = [sys.executable, "-m", "service", "up", "--port", str(port), "--registry-port", str(registry_port)]
    log = data_dir.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), *options],
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {}), MARK: mark},
            process_group=0,  # Ctrl-C ends the measurement, which then stops the service itself
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(process, url, log)
        models = httpx.get(f"{url}/v1/models").json()["data"]
        base = next(m["id"] for m in models if m.get("parent") is None)
        yield RunningService(url, f"http://127.0.0.1:{registry_port}", base, mark)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _resident_bytes(process: psutil.Process, mark: str) -> int:
    try:
        return int(process.memory_info().rss) if process.environ().get(MARK) == mark else 0
    except psutil.Error:  # ended meanwhile, or a process of another user
        return 0


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServiceNotReached(f"the service did not get ready:\n{log.read_text()[-3000:]}")
        try:
            if httpx.get(f"{url}/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)


def free_port() -> int:
    """A free port below the ranges that the system and Ray's agents (52365) use, so that it stays free until use."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceNotReached("a hundred ports are taken")
