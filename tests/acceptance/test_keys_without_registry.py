"""Promise P9 with keys: without the registry tenants go on, across a restart too. The last that uses the plane."""

from __future__ import annotations

import signal

import pytest

from adapters_registry.access import Scope, new_key
from tests.acceptance.conftest import EXAMPLES
from tests.acceptance.plane import HEARD_S, Plane, answer, refusal, status
from tests.acceptance.up import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def test_keys_go_on_without_the_registry_across_a_restart(plane: Plane) -> None:
    revoked = plane.new_key(Scope.INFER)
    plane.operator.revoke_key(revoked.record.id)
    eventually(lambda: status(plane, revoked.key) == 401, HEARD_S)
    before = {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys}

    def holds() -> None:
        assert {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys} == before
        assert refusal(plane.of("globex"), "acme/own")[0] == 404
        for nobody in (None, revoked.key, str(new_key())):
            assert status(plane, nobody) == 401

    plane.registry.kill()
    plane.registry.wait()
    holds()
    plane.up.interrupt()
    eventually(lambda: plane.up.process.poll() is not None and not plane.up.processes("service up"), 20)
    plane.up.start("--registry-url", plane.up.registry, "--examples", str(EXAMPLES))
    assert "examples left out: the service has API keys" in plane.up.log.read_text()
    holds()
    plane.up.process.send_signal(signal.SIGTERM)
    eventually(lambda: plane.up.process.poll() is not None and plane.up.gone(), 20)
    assert plane.up.process.returncode == 0
