"""Tenants with keys on a real service and a real registry: who may ask what, how much, and for how long."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from adapters_registry.access import Scope, new_key
from adapters_registry.client import RegistryClient
from adapters_registry.errors import AdapterNotFound, InsufficientScope, InvalidKey, TenantNotFound
from adapters_registry.records import NewKey, Quotas
from service.settings import BUNDLED_BASE
from tests.acceptance.conftest import EXAMPLES
from tests.acceptance.up import MARK, Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

HEARD_S = 10.0
"""Within it a gateway that reaches the registry knows of a key that was made or revoked."""
TENANT_SCOPES = (Scope.INFER, Scope.ADAPTER_READ, Scope.ADAPTER_WRITE)


@dataclass
class Plane:
    """A registry, a service that follows it, and an operator's key."""

    up: Up
    registry: subprocess.Popen[bytes]
    operator: RegistryClient
    keys: dict[str, NewKey] = field(default_factory=dict)
    """Each tenant's."""

    def user(self, key: str) -> OpenAI:
        return OpenAI(base_url=f"{self.up.url}/v1", api_key=key, max_retries=0)

    def of(self, tenant: str) -> OpenAI:
        return self.user(self.keys[tenant].key)

    def new_key(self, *scopes: Scope, tenant: str = "acme", quotas: Quotas = Quotas()) -> NewKey:
        """One that the gateway knows already."""
        made = self.operator.create_key("test", scopes, tenant=tenant, quotas=quotas)
        eventually(lambda: status(self, made.key) != 401, HEARD_S)
        return made


def status(plane: Plane, key: str | None, path: str = "/v1/models/" + BUNDLED_BASE) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.get(f"{plane.up.url}{path}", headers=headers, timeout=30).status_code


def answer(user: OpenAI, model: str) -> tuple[str, str]:
    """What is said, and by which weights."""
    raw = user.completions.with_raw_response.create(
        model=model, prompt="Once upon a time", max_tokens=8, temperature=0
    )
    return raw.parse().choices[0].text, raw.headers["x-adapter"]


def refusal(user: OpenAI, model: str) -> tuple[int, str | None, str]:
    """Status, code and message, with the model's name out of it."""
    with pytest.raises(openai.APIStatusError) as caught:
        answer(user, model)
    assert caught.value.response.headers["x-should-retry"] == "false"
    return caught.value.status_code, caught.value.code, caught.value.message.replace(model, "MODEL")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, folders: list[Path]) -> Iterator[Plane]:
    """Without keys at first: everybody may ask. Then an operator's key, and two tenants with an adapter each."""
    root = tmp_path_factory.mktemp("keys")
    up = Up(root / "data", root / "log")
    text = str(new_key())
    up.variables["QUICKCHANGE_REGISTRY_KEY"] = text
    registry = subprocess.Popen(
        [sys.executable, "-m", "adapters_registry", "--data-dir", str(root / "r"), "--port", str(up.registry_port)],
        env={**os.environ, "QUICKCHANGE_REGISTRY_SERVICE_KEY": text, MARK: up.mark},
    )
    try:
        eventually(lambda: httpx.get(f"{up.registry}/health").is_success)
        up.start("--registry-url", up.registry)
        with RegistryClient(up.registry) as nobody:
            eventually(nobody.bases)
            first = nobody.create_key("operator", [Scope.ADMIN])
        with RegistryClient(up.registry, key=first.key) as operator:
            plane = Plane(up, registry, operator)
            eventually(lambda: status(plane, None) == 401, HEARD_S)
            for tenant, folder in zip(("acme", "globex"), folders, strict=False):
                plane.keys[tenant] = plane.new_key(*TENANT_SCOPES, tenant=tenant)
                with RegistryClient(up.registry, key=plane.keys[tenant].key) as pusher:
                    pusher.push(folder, tenant, "own")
                key = plane.keys[tenant].key
                eventually(lambda key=key: status(plane, key, "/v1/models/own") == 200, HEARD_S)  # type: ignore[misc]
            yield plane
    finally:
        registry.kill()
        registry.wait()
        for process in up.processes():
            process.kill()


def test_each_tenant_asks_its_own(plane: Plane) -> None:
    said = {tenant: answer(plane.of(tenant), f"{tenant}/own") for tenant in plane.keys}
    assert [weights for _, weights in said.values()] == ["acme/own@1", "globex/own@1"]
    assert said["acme"][0] != said["globex"][0]
    for tenant in plane.keys:
        assert answer(plane.of(tenant), "own") == said[tenant]
        assert answer(plane.of(tenant), BUNDLED_BASE)[1] == BUNDLED_BASE
        assert [model.id for model in plane.of(tenant).models.list()] == [BUNDLED_BASE, f"{tenant}/own"]


def test_anothers_adapter_is_an_unknown_one(plane: Plane) -> None:
    foreign, unknown = (refusal(plane.of("globex"), model) for model in ("acme/own", "acme/none"))
    assert foreign == unknown
    assert foreign[:2] == (404, "model_not_found")
    with RegistryClient(plane.up.registry, key=plane.keys["globex"].key) as other:
        for name in ("own", "none"):
            with pytest.raises(AdapterNotFound):
                other.adapter("acme", name)


def test_a_shared_adapter_answers_until_it_is_shared_no_more(plane: Plane) -> None:
    with RegistryClient(plane.up.registry, key=plane.keys["acme"].key) as owner:
        owner.share("acme", "own", "globex")
        eventually(lambda: status(plane, plane.keys["globex"].key, "/v1/models/acme/own") == 200, HEARD_S)
        assert answer(plane.of("globex"), "acme/own") == answer(plane.of("acme"), "own")
        owner.unshare("acme", "own", "globex")
        eventually(lambda: status(plane, plane.keys["globex"].key, "/v1/models/acme/own") == 404, HEARD_S)


def test_a_key_does_what_its_scopes_say(plane: Plane, folders: list[Path]) -> None:
    reads, asks = plane.new_key(Scope.ADAPTER_READ), plane.new_key(Scope.INFER)
    assert refusal(plane.user(reads.key), "own")[:2] == (403, "insufficient_scope")
    assert answer(plane.user(asks.key), "own")[1] == "acme/own@1"
    assert status(plane, asks.key, "/metrics") == 403
    with RegistryClient(plane.up.registry, key=asks.key) as pusher, pytest.raises(InsufficientScope):
        pusher.push(folders[2], "acme", "more")
    with RegistryClient(plane.up.registry, key=plane.keys["acme"].key) as pusher:
        for tenant in ("globex", "nobody"):
            with pytest.raises(TenantNotFound):
                pusher.push(folders[2], tenant, "own")
    for nobody in (None, "qc_none", str(new_key())):
        assert status(plane, nobody) == 401


def test_a_quota_holds(plane: Plane) -> None:
    made = plane.new_key(Scope.INFER, quotas=Quotas(requests_per_min=2))
    user = plane.user(made.key)
    first = user.completions.with_raw_response.create(model="own", prompt="Hello", max_tokens=1)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    answer(user, "own")
    with pytest.raises(openai.RateLimitError) as caught:
        answer(user, "own")
    assert caught.value.code == "quota_exceeded"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert answer(plane.of("acme"), "own")[1] == "acme/own@1"


def test_a_rotated_key_goes_on_for_the_overlap(plane: Plane) -> None:
    old = plane.new_key(Scope.INFER)
    new = plane.operator.rotate_key(old.record.id, 3600.0)
    eventually(lambda: status(plane, new.key) == 200, HEARD_S)
    assert status(plane, old.key) == 200
    newest = plane.operator.rotate_key(new.record.id, 0.0)
    eventually(lambda: (status(plane, newest.key), status(plane, new.key)) == (200, 401), HEARD_S)
    assert status(plane, old.key) == 200


def test_a_revoked_key_ends_within_seconds(plane: Plane) -> None:
    made = plane.new_key(Scope.INFER, Scope.ADAPTER_READ)
    answer(plane.user(made.key), "own")
    plane.operator.revoke_key(made.record.id)
    eventually(lambda: status(plane, made.key) == 401, HEARD_S)
    with pytest.raises(openai.AuthenticationError):
        answer(plane.user(made.key), "own")
    with RegistryClient(plane.up.registry, key=made.key) as client, pytest.raises(InvalidKey):
        client.adapter("acme", "own")


def test_keys_go_on_without_the_registry_across_a_restart(plane: Plane) -> None:
    """The last: it leaves no registry behind."""
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
    plane.up.interrupt()
    eventually(lambda: plane.up.process.poll() is not None and plane.up.gone(), 20)
