from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters_registry.errors import (
    AdapterNotFound,
    AdapterRefused,
    AliasInUse,
    AliasNotFound,
    BlobMissing,
    GenerationMismatch,
    GenerationRequired,
    InvalidValue,
    NoPreviousVersion,
    RegistryError,
    VersionDeleted,
    VersionNotFound,
)
from adapters_registry.metadata import Change
from adapters_registry.opening import open_registry
from adapters_registry.records import TenantBounds, TenantQuotas
from adapters_registry.registry import Origin
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.conftest import store

ACME = ("acme", "support")
MANY = 50


def state(registry) -> str:
    """All live adapters on one line each: versions, then aliases."""
    lines = []
    for adapter in registry.snapshot().adapters:
        numbers = " ".join(str(version.number) for version in adapter.versions)
        aliases = " ".join(f"{a.alias}={a.version}/{a.generation}" for a in adapter.aliases)
        lines.append(f"{adapter.tenant}/{adapter.name}: {numbers} | {aliases}")
    return "\n".join(lines)


def test_the_first_version_goes_live_later_ones_when_promoted(registry, push):
    assert push(fill=0.1).created
    assert state(registry) == "acme/support: 1 | production=1/1"
    push(fill=0.2)
    assert state(registry) == "acme/support: 1 2 | production=1/1"
    push(fill=0.3, promote=True)
    assert state(registry) == "acme/support: 1 2 3 | production=3/2"


def test_the_same_files_again_are_the_same_version(registry, push):
    first = push(fill=0.1)
    push(fill=0.2)
    seq = registry.snapshot().seq
    again = push(fill=0.1)
    assert (again.record, again.created) == (first.record, False)
    assert registry.snapshot().seq == seq, "nothing changed, so nothing is told"
    push(fill=0.2, promote=True)
    assert state(registry) == "acme/support: 1 2 | production=2/2"


def test_the_same_files_for_two_tenants_are_two_adapters(registry, push):
    ours, theirs = push("acme/support"), push("globex/support")
    assert ours.record.digest == theirs.record.digest
    registry.delete_adapter(*ACME)
    assert registry.version(ours.record.digest).tenant == "globex"


def test_equal_pushes_at_once_make_one_version(registry, push, tmp_path):
    path = artifacts.folder(tmp_path / "a")
    for file in artifacts.files(path):
        store(registry, "acme", (path / file.path).read_bytes())
    files = artifacts.files(path)
    with ThreadPoolExecutor(MANY) as pool:
        results = list(pool.map(lambda _: registry.publish(*ACME, files, Origin()), range(MANY)))
    assert [result.created for result in results].count(True) == 1
    assert state(registry) == "acme/support: 1 | production=1/1"


def test_numbers_are_never_used_again(registry, push):
    push(fill=0.1)
    push(fill=0.2, promote=True)
    registry.delete_version(*ACME, 1)
    assert push(fill=0.1).record.number == 3, "the same files again, after their version was deleted"
    registry.delete_adapter(*ACME)
    assert state(registry) == ""
    assert push(fill=0.4).record.number == 4
    assert state(registry) == "acme/support: 4 | production=4/4", "and so do the alias' generations go on"


def test_a_refused_push_leaves_no_row(registry, push, tmp_path):
    broken = artifacts.folder(tmp_path / "a", artifacts.config(use_dora=True))
    with pytest.raises(AdapterRefused):
        push(path=broken)
    assert state(registry) == ""
    with pytest.raises(AdapterNotFound):
        registry.adapter(*ACME)


def test_files_must_be_uploaded_and_of_the_told_size(registry, push, tmp_path):
    path = artifacts.folder(tmp_path / "a")
    files = artifacts.files(path)
    with pytest.raises(BlobMissing) as caught:
        registry.publish(*ACME, files, Origin())
    assert caught.value.param == files[0].path
    for file in files:
        store(registry, "acme", (path / file.path).read_bytes())
    wrong = [file.model_copy(update={"size": file.size + 1}) for file in files]
    with pytest.raises(InvalidValue):
        registry.publish(*ACME, wrong, Origin())


def test_announcing_the_same_base_again_changes_nothing(registry):
    seq = registry.snapshot().seq
    registry.put_base(artifacts.base())
    assert registry.snapshot().seq == seq


def test_an_alias_moves_by_compare_and_set(registry, push):
    push(fill=0.1)
    push(fill=0.2)
    assert registry.move_alias(*ACME, "production", 2, 1).generation == 2
    with pytest.raises(GenerationMismatch):
        registry.move_alias(*ACME, "production", 1, 1)
    with pytest.raises(GenerationRequired):
        registry.move_alias(*ACME, "production", 1, None)
    with pytest.raises(GenerationMismatch):
        registry.move_alias(*ACME, "production", 1, 0)
    assert registry.resolve(*ACME).version == 2
    digest = registry.adapter(*ACME).versions[0].digest
    assert registry.move_alias(*ACME, "canary", digest, None).version == 1
    assert state(registry) == "acme/support: 1 2 | canary=1/1 production=2/2"


def test_of_equal_moves_at_once_one_wins(registry, push):
    for fill in (0.1, 0.2, 0.3):
        push(fill=fill)

    def move(version: int) -> bool:
        try:
            registry.move_alias(*ACME, "production", version, 1)
        except GenerationMismatch:
            return False
        return True

    with ThreadPoolExecutor(MANY) as pool:
        won = list(pool.map(move, [2, 3] * (MANY // 2)))
    assert won.count(True) == 1
    assert registry.resolve(*ACME).generation == 2


@pytest.mark.parametrize("alias", ["7", "007", "sha256", "sha256-x", "Prod", "", "-x", "a/b", "x" * 64, "a\n"])
def test_names_that_no_alias_may_have(registry, push, alias):
    push()
    with pytest.raises(InvalidValue) as caught:
        registry.move_alias(*ACME, alias, 1, None)
    assert caught.value.param == "alias"


def test_an_alias_points_at_what_exists(registry, push):
    push(fill=0.1)
    push(fill=0.2)
    registry.delete_version(*ACME, 2)
    with pytest.raises(VersionDeleted):
        registry.move_alias(*ACME, "production", 2, 1)
    with pytest.raises(VersionNotFound):
        registry.move_alias(*ACME, "production", 3, 1)
    with pytest.raises(AdapterNotFound):
        registry.move_alias("acme", "other", "production", 1, None)
    with pytest.raises(AliasNotFound):
        registry.resolve(*ACME, "canary")


def test_rollback_goes_back_one_move_at_a_time(registry, push):
    for fill in (0.1, 0.2, 0.3, 0.4):
        push(fill=fill, promote=True)
    registry.move_alias(*ACME, "production", 1, 4)
    registry.delete_version(*ACME, 3)
    assert registry.rollback(*ACME).version == 4
    assert registry.rollback(*ACME).version == 2, "version 3 was deleted"
    with pytest.raises(GenerationMismatch):
        registry.rollback(*ACME, generation=5)
    assert registry.rollback(*ACME, generation=7).version == 1
    with pytest.raises(NoPreviousVersion):
        registry.rollback(*ACME)
    with pytest.raises(AliasNotFound):
        registry.rollback(*ACME, "canary")


def test_a_version_with_an_alias_cannot_be_deleted(registry, push):
    pushed = push(fill=0.1)
    with pytest.raises(AliasInUse, match="'production'"):
        registry.delete_version(*ACME, 1)
    push(fill=0.2, promote=True)
    registry.delete_version(*ACME, 1)
    with pytest.raises(VersionDeleted):
        registry.version(pushed.record.digest)
    with pytest.raises(VersionDeleted):
        registry.delete_version(*ACME, 1)
    with pytest.raises(VersionNotFound):
        registry.delete_version(*ACME, 9)
    with pytest.raises(VersionNotFound):
        registry.version("sha256:" + "f" * 64)


def test_an_alias_made_anew_is_not_of_an_old_generation(registry, push):
    push()
    registry.delete_alias(*ACME, "production", 1)
    assert state(registry) == "acme/support: 1 | "
    assert registry.move_alias(*ACME, "production", 1, 0).generation == 3
    with pytest.raises(AliasNotFound):
        registry.delete_alias(*ACME, "canary")


def test_changes_tell_the_present_state_of_what_was_touched(registry, push):
    push("acme/a")
    push("acme/b")
    seq = registry.snapshot().seq
    assert registry.changes(seq).adapters == ()
    registry.delete_adapter("acme", "b")
    push("acme/c")
    found = registry.changes(seq)
    assert [(a.name, len(a.versions), len(a.aliases)) for a in found.adapters] == [("b", 0, 0), ("c", 1, 1)]
    assert found.seq == registry.snapshot().seq > seq
    assert [a.name for a in registry.changes(0).adapters] == ["a", "b", "c"]


def test_a_since_of_another_history_asks_for_a_new_snapshot(registry, push):
    push()
    seq = registry.snapshot().seq
    assert registry.changes(seq + 1).reset
    assert registry.changes(57).reset
    assert not registry.changes(seq).reset


def test_a_head_of_another_history_asks_for_a_new_snapshot(registry, push):
    """As when a restored registry has come by other changes to a number that was seen before."""
    empty = registry.snapshot()
    push()
    before, after = empty.seq, registry.snapshot()
    assert not registry.changes(before, empty.head).reset
    first = registry.audit(after=before, limit=1).entries[0]
    found = registry.changes(first.seq, first.digest)
    assert (found.reset, found.seq, found.head) == (False, after.seq, after.head)
    assert after.head == registry.audit().entries[-1].digest == registry.verify_audit().head
    for seq in (before, first.seq, after.seq):
        assert registry.changes(seq, "sha256:" + "f" * 64).reset
    assert registry.changes(after.seq, empty.head).reset


def test_pages(registry, push):
    for name in ("b/x", "a/y", "a/x", "c/x"):
        push(name)
    first = registry.page(limit=3)
    assert ([f"{a.tenant}/{a.name}" for a in first.adapters], first.next) == (["a/x", "a/y", "b/x"], "b/x")
    last = registry.page(after=first.next, limit=3)
    assert ([f"{a.tenant}/{a.name}" for a in last.adapters], last.next) == (["c/x"], None)
    assert [a.name for a in registry.page(tenant="a").adapters] == ["x", "y"]


def test_more_adapters_than_one_statement_may_name(registry):
    with registry.metadata.writing() as rows:
        acme = rows.tenants.make("acme")
        for number in range(1100):
            rows.record(Change("adapter.make", "", rows.adapters.add(acme, f"a{number:04}")))
    assert [a.name for a in registry.changes(0).adapters] == [f"a{number:04}" for number in range(1100)]


def test_what_was_told_is_there_after_a_restart(tmp_path):
    path = artifacts.folder(tmp_path / "a")
    with open_registry(tmp_path / "data", Limits(), lambda: None) as registry:
        registry.put_base(artifacts.base())
        for file in artifacts.files(path):
            store(registry, "acme", (path / file.path).read_bytes())
        registry.publish(*ACME, artifacts.files(path), Origin(lineage={"parent": "x"}))
        before = registry.snapshot()
    with open_registry(tmp_path / "data", Limits(), lambda: None) as registry:
        assert registry.snapshot() == before
        assert registry.version(before.adapters[0].versions[0].digest).lineage == {"parent": "x"}
        with pytest.raises(RegistryError) as caught, open_registry(tmp_path / "data", Limits(), lambda: None):
            pass
        assert caught.value.code == "store_owned"


def test_quotas_of_tenants_come_with_the_feed(registry, push):
    push()
    before = registry.snapshot()
    assert before.tenants == ()
    quotas = {"requests_per_min": 60, "concurrent": 8}
    registry.put_tenant("acme", TenantBounds(max_versions=9, **quotas))
    registry.put_tenant("globex", TenantBounds(max_versions=9))
    found = registry.changes(before.seq, before.head)
    assert found.tenants == registry.snapshot().tenants == (TenantQuotas(name="acme", **quotas),)
    assert registry.tenant("acme").concurrent == 8
    assert registry.changes(found.seq, found.head).tenants is None
    registry.put_tenant("acme", TenantBounds())
    assert registry.changes(found.seq, found.head).tenants == ()
