"""The service whose processes are killed: started from a checkout, used over HTTP, restarted when it has ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from loadtest.errors import ServiceNotReached

START_S = 300.0
STOP_S = 60.0
ADAPTER = Path("service/examples/demo/pirate/1")
ACKNOWLEDGE_S = 60.0


class Service:
    """``python -m service up`` of the checkout ``code``, with feedback on."""

    def __init__(self, code: Path, scratch: Path, port: int, registry_port: int) -> None:
        self._code = code
        self._scratch = scratch
        self._ports = (port, registry_port)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"
        self.registry = f"http://127.0.0.1:{registry_port}"

    def ready(self) -> psutil.Process:
        """Starts the service if it does not run; returns its keeper once it answers."""
        deadline = time.monotonic() + START_S
        if self.exit_code is not None or self._process is None:
            while not all(map(_is_free, self._ports)) and time.monotonic() < deadline:
                time.sleep(0.25)  # processes of the one before end a moment after it, where it was killed
            self._start()
        while time.monotonic() < deadline:
            if self.exit_code is not None:
                raise ServiceNotReached(f"the service ended:\n{self._log.read_text()[-3000:]}")
            if self._answers() and "Ctrl-C stops." in self._log.read_text():
                assert self._process is not None
                return psutil.Process(self._process.pid)
            time.sleep(0.25)
        raise ServiceNotReached(f"the service did not get ready:\n{self._log.read_text()[-3000:]}")

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def model(self) -> str:
        models = httpx.get(f"{self.url}/v1/models", trust_env=False).json()["data"]
        return str(next(model["id"] for model in models if model.get("parent") is None))

    def push(self) -> str:
        """Pushes a version; returns its name once the registry has acknowledged it."""
        name = f"kills/{uuid.uuid4().hex[:12]}"
        command = [sys.executable, "-m", "service", "push", str(ADAPTER), name, "--registry", self.registry]
        subprocess.run(command, check=True, capture_output=True, cwd=self._code, env=self._environment())
        return name

    def judge(self) -> str:
        """Sends a feedback event; returns its id once it was acknowledged with 202."""
        messages = [{"role": "user", "content": "Name a colour."}]
        body = {"model": self.model, "messages": messages, "max_tokens": 2}
        deadline = time.monotonic() + ACKNOWLEDGE_S
        while time.monotonic() < deadline:
            try:
                answer = httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=30, trust_env=False).json()
                said = {
                    "kind": "comment",
                    "target": {"response_id": answer["id"]},
                    "value": "kept",
                    "source": "kills",
                }
                took = httpx.post(f"{self.url}/v1/feedback", json={"events": [said]}, timeout=30, trust_env=False)
                if took.status_code == httpx.codes.ACCEPTED:
                    return str(took.json()["data"][0]["id"])
            except (httpx.TransportError, KeyError):
                pass
            time.sleep(0.5)
        raise ServiceNotReached("no feedback was acknowledged")

    def lost(self, pushed: str, event: str) -> list[str]:
        """Which of the two is missing now."""
        lost = []
        name = f"{self.registry}/v1/adapters/{pushed}"
        if httpx.get(name, timeout=10, trust_env=False).status_code != httpx.codes.OK:
            lost.append(f"version {pushed}@1")
        if event not in self._events():
            lost.append(f"feedback {event}")
        return lost

    def said(self) -> list[str]:
        """The lines of its terminal so far."""
        return self._log.read_text(errors="replace").splitlines()

    def stop(self) -> None:
        if self._process is None or self.exit_code is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:  # the kill broke the service: the next trial starts another one
            below = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def commit(self) -> str:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=self._code
        )
        return asked.stdout.strip() or "unknown"

    @property
    def _log(self) -> Path:
        return self._scratch / "up.log"

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._code)}

    def _start(self) -> None:
        port, registry_port = map(str, self._ports)
        ports = ["--port", port, "--registry-port", registry_port]
        options = [*ports, "--data-dir", str(self._scratch / "data"), "--feedback.enabled"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "up", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._code,
                env=self._environment(),
                process_group=0,
            )

    def _answers(self) -> bool:
        try:
            found = [
                httpx.get(f"{url}", timeout=5, trust_env=False)
                for url in (f"{self.url}/ready", f"{self.registry}/health")
            ]
        except httpx.TransportError:
            return False
        return all(answer.status_code == httpx.codes.OK for answer in found)

    def _events(self) -> set[str]:
        found: set[str] = set()
        after = ""
        while True:
            parameters = {"after": after, "limit": "1000"}
            page = httpx.get(f"{self.url}/v1/feedback", params=parameters, timeout=30, trust_env=False).json()
            if page["next"] == after:
                return found
            found |= {event["id"] for event in page["data"]}
            after = page["next"]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
