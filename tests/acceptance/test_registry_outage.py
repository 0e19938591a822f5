"""Promise P9: with the registry gone, what is cached goes on answering, across a restart of the service too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def answer(up: Up) -> tuple[str, str]:
    body = {"model": "acme/kept", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    response = httpx.post(f"{up.url}/v1/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["text"], response.headers["x-adapter-digest"]


def test_a_restart_without_the_registry(tmp_path: Path, folders: list[Path]) -> None:
    up = Up(tmp_path / "data", tmp_path / "log")
    options = ["--data-dir", str(tmp_path / "registry"), "--port", str(up.registry_port)]
    registry = subprocess.Popen([sys.executable, "-m", "adapters_registry", *options])
    try:
        up.start("--registry-url", up.registry)
        eventually(lambda: httpx.get(f"{up.registry}/v1/bases").json() not in ({}, []), 60)
        up.quickchange("push", str(folders[0]), "acme/kept")
        eventually(lambda: httpx.get(f"{up.url}/v1/models/acme/kept").status_code == 200)
        before = answer(up)
        registry.kill()
        registry.wait()
        assert answer(up) == before
        up.interrupt()
        eventually(lambda: up.process.poll() is not None and up.gone(), 15)
        up.start("--registry-url", up.registry)
        assert answer(up) == before
        up.interrupt()
        eventually(lambda: up.process.poll() is not None and up.gone(), 15)
    finally:
        registry.kill()
        for process in up.processes():
            process.kill()
