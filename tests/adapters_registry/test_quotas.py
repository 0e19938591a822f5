"""What tenants hold is counted once, and bounded."""

from __future__ import annotations

import pytest

from adapters_registry.errors import QuotaExceeded, TenantNotFound
from adapters_registry.kinds import judge
from adapters_registry.records import TenantBounds
from adapters_registry.registry import Registry
from tests.adapters_registry import artifacts
from tests.adapters_registry.clock import pass_time
from tests.adapters_registry.conftest import LIMITS, store
from tests.adapters_registry.test_registry import state

ACME = ("acme", "support")


def used(registry, tenant: str = "acme") -> tuple[int, int]:
    found = registry.tenant(tenant)
    return found.used_bytes, found.used_versions


def sizes(push_path) -> tuple[int, int]:
    """Bytes of an adapter's config and weights."""
    config, weights = artifacts.files(push_path)
    return config.size, weights.size


def test_equal_bytes_count_once(registry, push, tmp_path):
    push("acme/a", fill=0.1)
    config, weights = sizes(tmp_path / "adapter-0.1")
    assert used(registry) == (config + weights, 1)
    push("acme/b", fill=0.1)
    assert used(registry) == (config + weights, 2), "the same files under another name"
    push("acme/a", fill=0.2)
    assert used(registry) == (config + 2 * weights, 3), "the same config"
    push("globex/a", fill=0.1)
    assert used(registry, "globex") == (config + weights, 1), "each tenant for itself"
    registry.delete_adapter("acme", "a")
    assert used(registry) == (config + weights, 1)
    registry.delete_adapter("acme", "b")
    assert used(registry) == (0, 0)


def test_an_upload_counts_until_its_lease_ends(registry, engine):
    store(registry, "acme", b"x" * 100)
    store(registry, "acme", b"y" * 10)
    store(registry, "acme", b"x" * 100)
    assert used(registry) == (110, 0)
    pass_time(engine, LIMITS.lease_s + 1)
    assert used(registry) == (0, 0)


def test_no_more_bytes_than_the_tenant_may_hold(registry):
    registry.put_tenant("acme", TenantBounds(max_bytes=100))
    store(registry, "acme", b"x" * 60)
    store(registry, "acme", b"y" * 40)
    store(registry, "acme", b"x" * 60)
    with pytest.raises(QuotaExceeded) as caught:
        store(registry, "acme", b"z")
    assert caught.value.param == "max_bytes"
    assert not registry.holds("acme", artifacts.sha256(b"z"))
    store(registry, "globex", b"z")
    with pytest.raises(QuotaExceeded):
        store(registry, "acme", b"z")
    with pytest.raises(QuotaExceeded):
        registry.check_room("acme", artifacts.sha256(b"z"), 1)
    registry.check_room("acme", artifacts.sha256(b"x" * 60), 60)
    registry.put_tenant("acme", TenantBounds(max_bytes=101))
    store(registry, "acme", b"z")
    assert used(registry) == (101, 0)


def test_no_more_versions_than_the_tenant_may_have(registry, push):
    registry.put_tenant("acme", TenantBounds(max_versions=2))
    push("acme/a", fill=0.1)
    push("acme/b", fill=0.1)
    assert not push("acme/a", fill=0.1).created, "what is there already is no further one"
    with pytest.raises(QuotaExceeded) as caught:
        push("acme/a", fill=0.2)
    assert caught.value.param == "max_versions"
    with pytest.raises(QuotaExceeded):
        push("acme/c", fill=0.1)
    assert state(registry) == "acme/a: 1 | production=1/1\nacme/b: 1 | production=1/1"
    registry.delete_adapter("acme", "b")
    assert push("acme/a", fill=0.2).created


def test_a_lower_bound_takes_nothing_away(registry, push):
    push(fill=0.1)
    registry.put_tenant("acme", TenantBounds(max_bytes=0, max_versions=0))
    assert not push(fill=0.1).created
    assert state(registry) == "acme/support: 1 | production=1/1"
    with pytest.raises(QuotaExceeded):
        push(fill=0.2)


def test_the_registrys_default_bounds_who_has_none_of_its_own(registry):
    limits = LIMITS.model_copy(update={"tenant_bytes": 10, "tenant_versions": 0})
    bounded = Registry(registry.metadata, registry.blobs, registry.staging, limits, check=judge)
    with pytest.raises(QuotaExceeded):
        bounded.check_room("new", artifacts.sha256(b"x"), 11)
    bounded.check_room("new", artifacts.sha256(b"x"), 10)
    with pytest.raises(QuotaExceeded):
        store(bounded, "new", b"x" * 11)
    bounded.put_tenant("new", TenantBounds(max_bytes=20))
    store(bounded, "new", b"x" * 11)


def test_bounds_are_kept_and_told(registry, push):
    with pytest.raises(TenantNotFound):
        registry.tenant("acme")
    bounds = TenantBounds(max_bytes=1 << 40, max_versions=7, keep_versions=3, keep_days=30)
    made = registry.put_tenant("acme", bounds)
    assert TenantBounds(**made.model_dump(include=set(TenantBounds.model_fields))) == bounds
    assert registry.tenant("acme") == made
    push("globex/a")
    push("acme/a")
    assert [(t.name, t.max_versions, t.used_versions) for t in registry.tenants()] == [
        ("acme", 7, 1),
        ("globex", None, 1),
    ]
    assert registry.tenants() == (registry.tenant("acme"), registry.tenant("globex"))
