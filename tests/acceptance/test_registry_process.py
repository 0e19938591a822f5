"""The registry as a process: starts, follows, stops at once, and does not share its directory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adapters_registry.client import RegistryClient
from adapters_registry.errors import RegistryUnavailable
from tests.adapters_registry import artifacts

pytestmark = pytest.mark.acceptance


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def command(directory: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "adapters_registry", "--data-dir", str(directory), "--port", str(port)]


@contextmanager
def process(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    running = subprocess.Popen(command(directory, port), stderr=subprocess.PIPE, text=True)
    try:
        while True:
            assert running.poll() is None, running.stderr and running.stderr.read()
            try:
                httpx.get(f"{url}/health", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield running, url
    finally:
        running.kill()
        running.communicate()


def test_a_pending_watch_does_not_hold_the_exit(tmp_path):
    with process(tmp_path) as (running, url):
        answers: list[dict[str, object]] = []

        def watch() -> None:
            seq = httpx.get(f"{url}/v1/snapshot", trust_env=False).json()["seq"]
            params = {"since": seq, "wait_s": 50}
            answers.append(httpx.get(f"{url}/v1/changes", params=params, timeout=60, trust_env=False).json())

        thread = threading.Thread(target=watch)
        thread.start()
        time.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0
        thread.join()
        assert [answer["adapters"] for answer in answers] == [[]]
        assert running.stderr is not None
        lines = [json.loads(line) for line in running.stderr.read().splitlines()]
        assert {"time", "level", "logger", "message"} == set(lines[0])


def test_its_connections_are_bounded_by_its_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_CONNECTIONS__HEAD_S", "0.5")
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_CONNECTIONS__TOTAL", "8")
    monkeypatch.setenv("QUICKCHANGE_REGISTRY_LIMITS__BODY_S", "0.5")
    with process(tmp_path) as (_, url):
        at = ("127.0.0.1", int(url.rpartition(":")[2]))
        silent = [socket.create_connection(at, 20) for _ in range(40)]
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        silent[-1].sendall(b"GET /health HTTP/1.1\r\nx: " + b"y" * 40_000)
        with silent[-1] as endless:
            assert endless.recv(1 << 16).startswith(b"HTTP/1.1 431 ")
        for line in silent[:-1]:
            with line, contextlib.suppress(ConnectionError):
                assert line.recv(1) == b""
        head = (
            b"POST /v1/gc HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        with socket.create_connection(at, 20) as slow:
            slow.sendall(head)
            assert slow.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


def test_killed_at_once_after_the_answer_nothing_is_lost(tmp_path):
    path = artifacts.folder(tmp_path / "a")
    with process(tmp_path / "data") as (running, url), RegistryClient(url) as client:
        client.put_base(artifacts.base())
        pushed = client.push(path, "acme", "support")
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        with pytest.raises(RegistryUnavailable):
            client.adapter("acme", "support")
    with process(tmp_path / "data") as (_, url), RegistryClient(url) as client:
        assert client.version(pushed.published.record.digest).record == pushed.published.record
        weights = artifacts.files(path)[1]
        assert client.read_blob(weights.digest, weights.size)


def test_a_second_process_on_the_directory_says_so(tmp_path):
    with process(tmp_path) as (running, _):
        second = subprocess.run(command(tmp_path, free_port()), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"process {running.pid}" in second.stderr
        assert "--data-dir" in second.stderr


def test_wrong_usage():
    wrong = subprocess.run(
        [sys.executable, "-m", "adapters_registry", "--port", "x"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "port" in wrong.stderr
