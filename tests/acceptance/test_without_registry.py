"""Promise P9 with keys: without the registry tenants go on, across a restart too. Its last test stops ``small``."""

from __future__ import annotations

import json
import signal
import threading
import time

import httpx
import pytest

from adapters_registry.access import Scope, new_key
from adapters_registry.client import RegistryClient
from adapters_registry.errors import KeysLost
from tests.acceptance.plane import HEARD_S, Plane, Small, answers, refusal
from tests.acceptance.up import STOP_S, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

SHORT_S = 1.5
"""Far less than the 8 s that running requests get."""
ENDLESS = 200_000
"""Tokens that no machine makes while it stops."""


def test_a_registry_that_lost_its_database_lets_nobody_in(small: Small, plane: Plane) -> None:
    """Known keys go on; the database comes back as from a backup, and all is as it was."""
    before = answers(plane)
    operator = {"authorization": f"Bearer {plane.operator_key}"}

    def is_lost() -> bool:
        told = httpx.get(f"{plane.up.url}/v1/adapters/residency", headers=operator, timeout=30).json()
        return bool(told["registry"]["keys_lost"])

    rows, aside = small.registry.data / "registry.db", small.registry.data / "aside"
    small.registry.kill()
    rows.rename(aside)
    small.registry.start()
    with RegistryClient(plane.up.registry) as nobody:
        for verb in (nobody.page, nobody.audit, lambda: nobody.create_key("evil", [Scope.ADMIN])):
            with pytest.raises(KeysLost, match="create-admin-key"):
                verb()
    eventually(is_lost, HEARD_S)
    assert answers(plane) == before
    for path in ("/v1/models", "/metrics"):
        assert plane.status(None, path) == 401
    small.registry.kill()
    aside.rename(rows)
    small.registry.start()
    eventually(lambda: not is_lost(), HEARD_S)
    assert answers(plane) == before


class Stream(threading.Thread):
    """A client that reads one long streamed completion to its end."""

    def __init__(self, plane: Plane, tokens: int) -> None:
        super().__init__()
        self._url = f"{plane.up.url}/v1/completions"
        self._headers = {"authorization": f"Bearer {plane.keys['acme'].key}"}
        self._body = {"model": "own", "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}
        self.begun = threading.Event()
        self.lines: list[str] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, headers=self._headers, timeout=60) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.lines.append(line.removeprefix("data: "))
                    self.begun.set()


def tokens_in(seconds: float, plane: Plane, some: int = 200) -> int:
    """How many this machine makes for one stream."""
    began = time.monotonic()
    Stream(plane, some).join(60)
    return round(some * seconds / (time.monotonic() - began))


def test_a_stop_drains_and_keys_go_on_without_the_registry_across_the_restart(small: Small, plane: Plane) -> None:
    revoked = plane.new_key(Scope.INFER)
    plane.operator.revoke_key(revoked.record.id)
    eventually(lambda: plane.status(revoked.key) == 401, HEARD_S)
    before = answers(plane)

    def holds() -> None:
        assert answers(plane) == before
        assert refusal(plane.of("globex"), "acme/own")[0] == 404
        assert [plane.status(key) for key in (None, revoked.key, str(new_key()))] == [401] * 3

    small.registry.kill()
    holds()
    endless = Stream(plane, ENDLESS)
    assert endless.begun.wait(60)
    short = Stream(plane, tokens_in(SHORT_S, plane))
    assert short.begun.wait(60)
    plane.up.interrupt()
    eventually(lambda: plane.up.process.poll() is not None and plane.up.gone(), STOP_S)
    assert plane.up.process.returncode == 0
    short.join(5)
    assert short.lines[-1] == "[DONE]"
    assert json.loads(short.lines[-2])["choices"][0]["finish_reason"] == "length"
    endless.join(5)
    assert json.loads(endless.lines[-1])["error"]["code"] == "not_ready"

    plane.up.start(*small.options, "--examples", "bundled")  # the same ports and directories, at once
    assert "examples skipped: the service has API keys" in plane.up.log.read_text()
    holds()
    plane.up.process.send_signal(signal.SIGTERM)
    eventually(lambda: plane.up.process.poll() is not None and plane.up.gone(), STOP_S)
    assert plane.up.process.returncode == 0
