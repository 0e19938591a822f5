"""Promise P9 with keys: without the registry tenants go on, across a restart too. The last that uses the plane."""

from __future__ import annotations

import signal

import httpx
import pytest

from adapters_registry.access import Scope, new_key
from adapters_registry.client import RegistryClient
from adapters_registry.errors import KeysLost
from tests.acceptance.plane import HEARD_S, Plane, answer, refusal, status
from tests.acceptance.up import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def test_a_registry_that_lost_its_database_lets_nobody_in(plane: Plane) -> None:
    """Known keys go on; the database comes back as from a backup, and all is as it was."""
    before = {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys}
    operator = {"authorization": f"Bearer {plane.operator_key}"}

    def is_lost() -> bool:
        told = httpx.get(f"{plane.up.url}/v1/adapters/residency", headers=operator, timeout=30).json()
        return bool(told["registry"]["keys_lost"])

    rows, aside = plane.registry.data / "registry.db", plane.registry.data / "aside"
    plane.registry.kill()
    rows.rename(aside)
    plane.registry.start()
    with RegistryClient(plane.up.registry) as nobody:
        for verb in (nobody.page, nobody.audit, lambda: nobody.create_key("evil", [Scope.ADMIN])):
            with pytest.raises(KeysLost, match="create-admin-key"):
                verb()
    eventually(is_lost, HEARD_S)
    assert {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys} == before
    for path in ("/v1/models", "/metrics"):
        assert status(plane, None, path) == 401
    plane.registry.kill()
    aside.rename(rows)
    plane.registry.start()
    eventually(lambda: not is_lost(), HEARD_S)
    assert {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys} == before


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
    holds()
    plane.up.interrupt()
    eventually(lambda: plane.up.process.poll() is not None and not plane.up.processes("service up"), 20)
    plane.up.start("--registry-url", plane.up.registry, "--examples", "bundled")
    assert "examples skipped: the service has API keys" in plane.up.log.read_text()
    holds()
    plane.up.process.send_signal(signal.SIGTERM)
    eventually(lambda: plane.up.process.poll() is not None and plane.up.gone(), 20)
    assert plane.up.process.returncode == 0
