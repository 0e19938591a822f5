"""Tenants with keys on a real service and a real registry: who may ask what, how much, and for how long."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from adapters_registry.access import Scope, new_key
from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS
from adapters_registry.client import RegistryClient
from adapters_registry.errors import AdapterNotFound, InsufficientScope, InvalidKey, TenantNotFound
from adapters_registry.manifest import FORMAT
from adapters_registry.records import Quotas
from tests.acceptance.plane import HEARD_S, Plane, answer, refusal
from tests.acceptance.up import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def test_each_tenant_asks_its_own(plane: Plane) -> None:
    said = {tenant: answer(plane.of(tenant), f"{tenant}/own") for tenant in plane.keys}
    assert [weights for _, weights in said.values()] == ["acme/own@1", "globex/own@1"]
    assert said["acme"][0] != said["globex"][0]
    for tenant in plane.keys:
        assert answer(plane.of(tenant), "own") == said[tenant]
        assert answer(plane.of(tenant), plane.base)[1] == plane.base
        assert [model.id for model in plane.of(tenant).models.list()] == [plane.base, f"{tenant}/own"]


def test_the_base_is_announced_with_what_its_engine_runs(plane: Plane) -> None:
    (base,) = plane.operator.bases()
    assert plane.operator.base(base.digest).runs == (LORA, LORA_B_BIAS, LORA_BIAS)
    pushed = plane.operator.resolve("acme", "own")
    assert plane.operator.version(pushed.digest).manifest.format == FORMAT


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
        eventually(lambda: plane.status(plane.keys["globex"].key, "/v1/models/acme/own") == 200, HEARD_S)
        assert answer(plane.of("globex"), "acme/own") == answer(plane.of("acme"), "own")
        owner.unshare("acme", "own", "globex")
        eventually(lambda: plane.status(plane.keys["globex"].key, "/v1/models/acme/own") == 404, HEARD_S)


def test_a_key_does_what_its_scopes_say(plane: Plane, small_folders: list[Path]) -> None:
    reads, asks = plane.new_key(Scope.ADAPTER_READ), plane.new_key(Scope.INFER)
    assert refusal(plane.user(reads.key), "own")[:2] == (403, "insufficient_scope")
    assert answer(plane.user(asks.key), "own")[1] == "acme/own@1"
    assert plane.status(asks.key, "/metrics") == 403
    with RegistryClient(plane.up.registry, key=asks.key) as pusher, pytest.raises(InsufficientScope):
        pusher.push(small_folders[2], "acme", "more")
    with RegistryClient(plane.up.registry, key=plane.keys["acme"].key) as pusher:
        for tenant in ("globex", "nobody"):
            with pytest.raises(TenantNotFound):
                pusher.push(small_folders[2], tenant, "own")
    for nobody in (None, "qc_none", str(new_key())):
        assert plane.status(nobody) == 401


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
    eventually(lambda: plane.status(new.key) == 200, HEARD_S)
    assert plane.status(old.key) == 200
    newest = plane.operator.rotate_key(new.record.id, 0.0)
    eventually(lambda: (plane.status(newest.key), plane.status(new.key)) == (200, 401), HEARD_S)
    assert plane.status(old.key) == 200


def test_a_revoked_key_ends_within_seconds(plane: Plane) -> None:
    made = plane.new_key(Scope.INFER, Scope.ADAPTER_READ)
    answer(plane.user(made.key), "own")
    plane.operator.revoke_key(made.record.id)
    eventually(lambda: plane.status(made.key) == 401, HEARD_S)
    with pytest.raises(openai.AuthenticationError):
        answer(plane.user(made.key), "own")
    with RegistryClient(plane.up.registry, key=made.key) as client, pytest.raises(InvalidKey):
        client.adapter("acme", "own")
