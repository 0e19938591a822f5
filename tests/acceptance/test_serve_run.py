"""``serve run deploy/serve.yaml`` starts the application that ``quickchange up`` starts."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import MARK, START_S, Up, eventually
from tests.deploy.tools import DEPLOY, ROOT

pytestmark = pytest.mark.acceptance

STOP_S = 60.0
"""Serve's own command stops Serve and Ray in its own time."""
LEAVE_S = 10.0
"""Ray's log monitor and dashboard end by themselves, a moment after the command."""


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` until the block ends; then SIGINT, as Ctrl-C sends it."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, process_group=0)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def environment(up: Up, base: Path, ray_directory: str) -> dict[str, str]:
    """What ``deploy/serve.env`` says, on ports and directories of this test's own."""
    lines = [line for line in (DEPLOY / "serve.env").read_text().splitlines() if line and not line.startswith("#")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **inherited,
        **dict(line.split("=", 1) for line in lines),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(up.port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(up.port + 1),
        "RAY_TMPDIR": ray_directory,  # another Ray of this machine is not to be joined
        "QUICKCHANGE_REGISTRY_URL": up.registry,
        "QUICKCHANGE_BASE": str(base),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        MARK: up.mark,
    }


def test_the_config_file_starts_the_same_application(
    tmp_path: Path, small_base: Path, small_folders: list[Path]
) -> None:
    up = Up(tmp_path / "data", tmp_path / "log")
    registry = [sys.executable, "-m", "adapters_registry", "--data-dir", str(up.data_dir)]
    # A socket's path has at most 107 characters: not under the test's own directory.
    with tempfile.TemporaryDirectory(prefix="ray-") as ray_directory:
        variables = environment(up, small_base, ray_directory)
        with (
            running([*registry, "--port", str(up.registry_port)], variables, up.log),
            running(["serve", "run", str(DEPLOY / "serve.yaml")], variables, up.log) as serve,
        ):

            def is_ready() -> bool:
                assert serve.poll() is None, up.log.read_text()[-3000:]
                return httpx.get(f"{up.url}/ready", timeout=5.0).status_code == 200

            eventually(is_ready, START_S)
            up.quickchange("push", str(small_folders[0]), "acme/support")
            eventually(lambda: httpx.get(f"{up.url}/v1/models/acme/support").status_code == 200)
            for model, answering in [(small_base.name, small_base.name), ("acme/support", "acme/support@1")]:
                body = {"model": model, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
                answer = httpx.post(f"{up.url}/v1/completions", json=body, timeout=60)
                assert answer.status_code == 200, answer.text
                assert answer.headers["x-adapter"] == answering
        try:
            eventually(up.gone, LEAVE_S)
        finally:
            up.close()
