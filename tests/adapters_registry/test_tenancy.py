"""What a tenant may see and take of another's: what was shared with it, and no more."""

from __future__ import annotations

import pytest

from adapters_registry.errors import (
    AdapterNotFound,
    BlobMissing,
    InvalidValue,
    VersionDeleted,
    VersionNotFound,
)
from adapters_registry.registry import Origin
from tests.adapters_registry import artifacts

ACME = ("acme", "support")


def seen(registry, tenant: str | None) -> list[str]:
    return [
        f"{a.tenant}/{a.name} {','.join(a.shared_with)}".strip() for a in registry.page(visible_to=tenant).adapters
    ]


def test_an_adapter_is_its_owners_until_it_is_shared(registry, push):
    digest = push("acme/support").record.digest
    push("globex/sales", fill=0.2)
    assert seen(registry, "acme") == ["acme/support"]
    assert registry.share(*ACME, "globex").shared_with == ("globex",)
    registry.share(*ACME, "initech")
    assert registry.share(*ACME, "globex").shared_with == ("globex", "initech")
    assert seen(registry, "globex") == ["acme/support globex", "globex/sales"], "whom else is not its business"
    assert registry.adapter(*ACME, visible_to="globex").shared_with == ("globex",)
    assert registry.resolve(*ACME, visible_to="globex").digest == digest
    assert registry.version(digest, "globex").tenant == "acme"
    assert registry.unshare(*ACME, "globex").shared_with == ("initech",)
    assert seen(registry, "globex") == ["globex/sales"]
    assert registry.share(*ACME, "*").shared_with == ("*", "initech")
    assert seen(registry, "umbrella") == ["acme/support *"]
    assert seen(registry, None) == ["acme/support *,initech", "globex/sales"]
    with pytest.raises(InvalidValue):
        registry.share(*ACME, "acme")


def test_foreign_is_unknown(registry, push):
    digest = push("acme/support").record.digest
    weights = registry.version(digest).manifest.files[1].digest
    errors = []
    for verb, arguments in (
        (registry.adapter, ACME),
        (registry.resolve, ACME),
    ):
        with pytest.raises(AdapterNotFound) as caught:
            verb(*arguments, visible_to="globex")
        errors.append(caught.value.message)
    with pytest.raises(AdapterNotFound) as caught:
        registry.adapter("acme", "support2", visible_to="globex")
    assert {*errors, caught.value.message.replace("support2", "support")} == {"No adapter acme/support."}
    for verb in (registry.version, registry.lineage):
        for unknown in (digest, "sha256:" + "f" * 64):
            with pytest.raises(VersionNotFound, match=f"^No version {unknown}\\.$"):
                verb(unknown, "globex")
    assert not registry.sees("globex", weights)
    assert registry.sees("acme", weights)
    registry.share(*ACME, "globex")
    assert registry.sees("globex", weights)
    assert not registry.holds("globex", weights)


def test_a_deleted_version_is_gone_for_its_owner_and_unknown_to_others(registry, push):
    digest = push(fill=0.1).record.digest
    push(fill=0.2, promote=True)
    registry.share(*ACME, "globex")
    registry.delete_version(*ACME, 1)
    for owner in ("acme", None):
        with pytest.raises(VersionDeleted):
            registry.version(digest, owner)
    for stranger in ("globex", "initech"):
        with pytest.raises(VersionNotFound):
            registry.version(digest, stranger)


def test_a_tenants_own_version_comes_before_one_shared_with_it(registry, push):
    digest = push("acme/support").record.digest
    push("globex/mine")
    registry.share(*ACME, "*")
    assert registry.version(digest, "globex").tenant == "globex"
    assert registry.version(digest, "initech").tenant == "acme"
    registry.delete_adapter("globex", "mine")
    assert registry.version(digest, "globex").tenant == "acme", "its own is deleted, this one it may use"


def test_to_know_a_digest_is_not_to_have_the_bytes(registry, push, tmp_path):
    push("acme/support", fill=0.1)
    files = artifacts.files(tmp_path / "adapter-0.1")
    for name in ("globex", "acme2"):
        with pytest.raises(BlobMissing):
            registry.publish(name, "stolen", files, Origin())
    registry.share(*ACME, "globex")
    with pytest.raises(BlobMissing):
        registry.publish("globex", "stolen", files, Origin())
    assert [a.tenant for a in registry.snapshot().adapters] == ["acme"]


def test_a_share_ends_with_its_adapter(registry, push):
    push("acme/support", fill=0.1)
    registry.share(*ACME, "globex")
    registry.delete_adapter(*ACME)
    push("acme/support", fill=0.2)
    assert seen(registry, "globex") == []


def test_shares_come_with_the_snapshot_and_the_changes(registry, push):
    push("acme/support")
    seq = registry.snapshot().seq
    registry.share(*ACME, "globex")
    (found,) = registry.changes(seq).adapters
    assert found.shared_with == ("globex",)
    assert registry.snapshot().adapters == (found,)
