"""A registry in a process of its own, as a client meets it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from adapters_registry.client import RegistryClient

START_S = 60.0


class Served:
    """One registry on a free port."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = RegistryClient(self.url, timeout_s=60)
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        command = [sys.executable, "-m", "adapters_registry", "--data-dir", str(directory), "--port", str(port)]
        self._process = subprocess.Popen(command, env=os.environ | environment)
        self._await_answer()

    def close(self) -> None:
        self.client._http.close()
        self.http.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            assert self._process.poll() is None, "it ended: see its log above"
            try:
                self.http.get("/health")
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
