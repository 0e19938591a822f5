"""Stopping: running streams finish, nothing is left within 15 s, and the next start works at once."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import STOP_S, Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

BASE = "smollm2-135m-instruct"


def stream(up: Up, tokens: int, begun: threading.Event, lines: list[str]) -> None:
    body = {"model": BASE, "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{up.url}/v1/completions", json=body, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
                begun.set()


def stopped(up: Up) -> None:
    eventually(lambda: up.process.poll() is not None and up.gone(), STOP_S)


def test_stop_drains_and_the_next_start_works(tmp_path: Path, folders: list[Path]) -> None:
    up = Up(tmp_path / "data", tmp_path / "log")
    try:
        up.start()
        up.quickchange("push", str(folders[0]), "default/kept")
        begun, lines = threading.Event(), list[str]()
        client = threading.Thread(target=stream, args=(up, 24, begun, lines))
        client.start()
        assert begun.wait(60)
        up.interrupt()
        client.join(60)
        assert lines[-1] == "[DONE]"
        assert json.loads(lines[-2])["choices"][0]["finish_reason"] == "length"
        stopped(up)
        assert up.process.returncode == 0

        up.start()  # the same ports and directories, at once
        assert httpx.get(f"{up.url}/v1/models/default/kept").status_code == 200
        begun, lines = threading.Event(), list[str]()
        endless = threading.Thread(target=stream, args=(up, 8000, begun, lines))
        endless.start()
        assert begun.wait(60)
        up.process.send_signal(signal.SIGTERM)
        stopped(up)
        endless.join(5)
        assert json.loads(lines[-1])["error"]["code"] == "not_ready"

        up.start()
        up.process.kill()  # no chance to clean up: Ray and the registry notice by themselves
        killed_at = time.monotonic()
        eventually(up.gone, 60.0)
        print(f"gone {time.monotonic() - killed_at:.1f} s after kill -9")
    finally:
        for process in up.processes():
            process.kill()


def test_a_signal_while_loading_ends_it(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", tmp_path / "log")
    threading.Timer(6.0, lambda: up.process.send_signal(signal.SIGTERM)).start()
    with pytest.raises(AssertionError, match="stopped"):  # the last line of its log
        up.start()
    stopped(up)
