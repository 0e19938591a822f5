"""The registry's own process under what one stranger without a key can send it, in full size. Takes minutes."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.slow
DESCRIPTORS = 1024
"""Of the server: what many systems give a process."""
SILENT = """
import resource, socket, sys, time
port, count, began = int(sys.argv[1]), int(sys.argv[2]), time.monotonic()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
held = []
for at in range(count):
    try:
        held.append(socket.create_connection(("127.0.0.1", port), 5))
        held[-1].sendall(b"GET /health HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nX-A: ")
    except OSError:
        pass
print("opened", flush=True)
sys.stdin.read()
"""


@dataclass
class Registry:
    """A process of it."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def rss(self) -> int:
        rss: int = psutil.Process(self.process.pid).memory_info().rss
        return rss

    def health(self) -> float:
        """Seconds that an answer took."""
        began = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=20, trust_env=False).status_code == 200
        return time.monotonic() - began


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "adapters_registry", "--data-dir", str(tmp_path), "--port", str(port)]
    limit = f'ulimit -n {DESCRIPTORS}; exec "$@"'
    process = subprocess.Popen(["bash", "-c", limit, "_", *command], stderr=subprocess.DEVNULL)
    found = Registry(process, port)
    try:
        while True:
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                found.health()
                break
            time.sleep(0.1)
        yield found
    finally:
        process.kill()
        process.wait()


def test_twenty_thousand_silent_connections(registry: Registry) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 10_100
    before = registry.rss
    strangers = [
        subprocess.Popen(
            [sys.executable, "-c", SILENT, str(registry.port), "10000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        while any(stranger.stdout is not None and stranger.poll() is None for stranger in strangers):
            registry.health()
            ready = [stranger.stdout.readline() for stranger in strangers if stranger.stdout is not None]
            if ready == [b"opened\n"] * 2:
                break
        for _ in range(20):
            registry.health()
            time.sleep(0.1)
        assert psutil.Process(registry.process.pid).num_fds() < DESCRIPTORS
        assert registry.rss - before < 64 << 20
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.communicate()


def test_a_header_of_a_hundred_mebibytes(registry: Registry) -> None:
    registry.health()
    before = registry.rss
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", registry.port), 20) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ")
            sent = 0
            with contextlib.suppress(OSError):
                while sent < 128 << 20:
                    line.sendall(b"a" * (1 << 20))
                    sent += 1 << 20
            assert sent < 32 << 20
        registry.health()
    assert registry.rss - before < 16 << 20
