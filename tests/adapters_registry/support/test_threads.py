"""A registry whose machine starts no further thread: requests are told to come back, and it goes on."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import eventually, free_port

AT_ONCE = 24


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Its address and its process id."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = ["--data-dir", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "adapters_registry", *options], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: httpx.get(f"{url}/v1/adapters").is_success)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> list[httpx.Response]:
    """Of requests that are sent at once, each of which a thread of the registry works on."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: httpx.get(f"{url}/v1/adapters", timeout=30), range(AT_ONCE)))


def test_requests_are_told_to_come_back(registry: tuple[str, int]) -> None:
    url, pid = registry
    most = resource.RLIM_INFINITY
    now = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (now + (7 << 20), most))  # less than the stack of one more thread
    refused = [answer for answer in answers(url) if not answer.is_success]
    assert refused
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
        assert "starts no further thread" in answer.json()["error"]["message"]
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    assert all(answer.is_success for answer in answers(url))
