"""``quickchange up`` as a process under test: started, followed, signalled, and searched for leftovers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

START_S = 180.0
STOP_S = 15.0
MARK = "ACCEPTANCE_RUN"

T = TypeVar("T")


def free_port() -> int:
    """Below the range from which the system and Ray's agents (52365) take theirs: still free when we come to it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a hundred ports are taken")


def eventually(look: Callable[[], T], limit_s: float = 30.0, until: Callable[[T], bool] = bool) -> T:
    """The first value of ``look()`` that will do; transport errors count as not yet."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if until(found := look()):
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        time.sleep(0.05)


@dataclass
class Up:
    """One ``quickchange up`` on ports and directories of its own, in a process group of its own as a shell's."""

    data_dir: Path
    log: Path
    port: int = field(default_factory=free_port)
    registry_port: int = field(default_factory=free_port)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """In the environment of every process that comes of it."""
    variables: dict[str, str] = field(default_factory=dict)
    """More of its environment: keys, which no command line may show."""
    program: tuple[str, ...] = (sys.executable, "-m", "service")
    cwd: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registry(self) -> str:
        return f"http://127.0.0.1:{self.registry_port}"

    def command(self, *options: str) -> list[str]:
        ports = ["--port", str(self.port), "--registry-port", str(self.registry_port)]
        return [*self.program, "up", *ports, "--data-dir", str(self.data_dir), *options]

    def start(self, *options: str) -> None:
        """Returns when ``/ready`` is 200 and the terminal says so: before that, a signal ends it without draining."""
        said = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*options),
                stdout=log,
                stderr=log,
                env={**os.environ, **self.variables, MARK: self.mark},
                cwd=self.cwd,
                process_group=0,
            )
        eventually(self._is_ready, START_S)
        eventually(lambda: "Ctrl-C stops." in self.log.read_text()[said:], START_S)  # examples are pushed meanwhile

    def interrupt(self) -> None:
        """What Ctrl-C does: the whole process group hears it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def quickchange(self, *arguments: str) -> str:
        """Another verb of the command line, against this registry; its stdout."""
        command = [*self.program, *arguments, "--registry", self.registry]
        environment = {**os.environ, **self.variables}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self, containing: str = "") -> list[psutil.Process]:
        """What lives of this start, or of it what has ``containing`` in its command line."""
        return [process for process in psutil.process_iter() if self._is_ours(process, containing)]

    def close(self) -> None:
        """Kills whatever runs of it."""
        for process in self.processes():
            process.kill()
        if self.process is not None:
            self.process.wait(STOP_S)

    def gone(self) -> bool:
        return not self.processes()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return httpx.get(f"{self.url}/ready", timeout=5.0).status_code == 200

    def _is_ours(self, process: psutil.Process, containing: str) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.environ().get(MARK) != self.mark:
                return False
            return containing in " ".join(process.cmdline())
        except psutil.Error:
            return False
