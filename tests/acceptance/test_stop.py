"""Stopping: running streams finish, nothing is left within 15 s, and the next start works at once."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import OPTIONS
from tests.acceptance.up import STOP_S, Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

BASE = "smollm2-135m-instruct"


class Stream(threading.Thread):
    """A client that reads one long streamed completion to its end."""

    def __init__(self, up: Up, tokens: int) -> None:
        super().__init__()
        self._url = f"{up.url}/v1/completions"
        self._body = {"model": BASE, "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}
        self.begun = threading.Event()
        self.lines: list[str] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, timeout=60) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.lines.append(line.removeprefix("data: "))
                    self.begun.set()


def stopped(up: Up) -> None:
    eventually(lambda: up.process.poll() is not None and up.gone(), STOP_S)


def test_stop_drains_and_the_next_start_works(up: Up, folders: list[Path]) -> None:
    """Of the service that all share: it is the same one to them after its restart."""
    up.quickchange("push", str(folders[0]), "default/kept")
    short, endless = Stream(up, 24), Stream(up, 8000)
    assert short.begun.wait(60)
    assert endless.begun.wait(60)
    up.interrupt()
    stopped(up)
    assert up.process.returncode == 0
    short.join(5)
    assert short.lines[-1] == "[DONE]"
    assert json.loads(short.lines[-2])["choices"][0]["finish_reason"] == "length"
    endless.join(5)
    assert json.loads(endless.lines[-1])["error"]["code"] == "not_ready"

    up.start(*OPTIONS)  # the same ports and directories, at once
    assert httpx.get(f"{up.url}/v1/models/default/kept").status_code == 200


def test_a_signal_while_loading_ends_it(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", tmp_path / "log")
    threading.Timer(6.0, lambda: up.process.send_signal(signal.SIGTERM)).start()
    with pytest.raises(AssertionError, match="stopped"):  # the last line of its log
        up.start()
    stopped(up)
