"""What nobody holds goes, what anybody holds stays, whoever comes between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters_registry.blobs.intake import keep
from adapters_registry.errors import BlobMissing, BlobNotFound, StorageFailed, VersionDeleted
from adapters_registry.kinds import judge
from adapters_registry.records import TenantBounds
from adapters_registry.registry import Origin, Registry
from adapters_registry.rows.blobs import ABANDONED_S
from tests.adapters_registry import artifacts
from tests.adapters_registry.clock import pass_time
from tests.adapters_registry.conftest import LIMITS, store
from tests.adapters_registry.test_registry import state

ACME = ("acme", "support")
DATA = b"weights" * 100
DIGEST = artifacts.sha256(DATA)
AFTER_LEASE_S = LIMITS.lease_s + 1


class Between:
    """A store; what is given runs once, at its moment."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs
        self.after_put: Callable[[], object] = lambda: None
        self.before_delete: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def put(self, staged: Path, digest: str, size: int) -> bool:
        new: bool = self._blobs.put(staged, digest, size)
        run, self.after_put = self.after_put, lambda: None
        run()
        return new

    def delete(self, digest: str) -> None:
        run, self.before_delete = self.before_delete, lambda: None
        run()
        self._blobs.delete(digest)


@pytest.fixture
def between(registry) -> Between:
    return Between(registry.blobs)


@pytest.fixture
def other(registry, between) -> Registry:
    """As ``registry``, whose store is ``between``."""
    return Registry(registry.metadata, between, registry.staging, LIMITS, check=judge)


def upload(registry, data: bytes = DATA, tenant: str = "acme") -> None:
    store(registry, tenant, data)


def blobs_of(registry) -> set[str]:
    return {blob.digest for blob in registry.blobs.stored()}


def test_a_fresh_upload_stays_while_its_lease_lasts(registry, engine):
    upload(registry)
    collected = registry.collect(grace_s=0)
    assert (collected.blobs, collected.bytes, collected.kept_by_lease) == (0, 0, 1)
    assert registry.holds("acme", DIGEST)
    pass_time(engine, AFTER_LEASE_S)
    assert not registry.holds("acme", DIGEST)
    assert blobs_of(registry) == {DIGEST}
    collected = registry.collect(grace_s=0)
    assert (collected.blobs, collected.bytes, collected.kept_by_lease) == (1, len(DATA), 0)
    assert blobs_of(registry) == set()


def test_uploading_again_renews_the_lease(registry, engine):
    upload(registry)
    pass_time(engine, AFTER_LEASE_S)
    upload(registry)
    assert registry.holds("acme", DIGEST)
    assert registry.collect(grace_s=0).blobs == 0


def test_the_grace_period_begins_when_the_lease_ends(registry, engine):
    upload(registry)
    pass_time(engine, AFTER_LEASE_S)
    assert registry.collect().blobs == 0
    pass_time(engine, LIMITS.grace_s)
    assert registry.collect().blobs == 1


def test_bytes_of_a_version_go_after_it(registry, push, engine):
    push(fill=0.1)
    weights = push(fill=0.2).record.digest
    before = blobs_of(registry)
    pass_time(engine, 30 * 86_400)
    assert registry.collect(grace_s=0).blobs == 0
    registry.delete_version(*ACME, 2)
    assert registry.collect().blobs == 0, "its grace period has just begun"
    pass_time(engine, LIMITS.grace_s + 1)
    assert registry.collect().blobs == 1, "the weights; the config is version 1's too"
    assert len(blobs_of(registry)) == len(before) - 1
    with pytest.raises(VersionDeleted):
        registry.version(weights)
    assert push(fill=0.2).created, "and it may come again"
    assert blobs_of(registry) == before


def test_what_another_tenant_has_stays(registry, push, engine):
    push("acme/support")
    push("globex/support")
    registry.delete_adapter(*ACME)
    pass_time(engine, AFTER_LEASE_S)
    assert registry.collect(grace_s=0).blobs == 0
    registry.delete_adapter("globex", "support")
    assert registry.collect(grace_s=0).blobs == 2
    assert blobs_of(registry) == set()


def test_bytes_without_a_row_go_after_the_grace_period(registry, tmp_path):
    staged = tmp_path / "staged"
    staged.write_bytes(DATA)
    registry.blobs.put(staged, DIGEST, len(DATA))
    assert registry.collect().blobs == 0
    assert registry.collect(dry_run=True, grace_s=0).bytes == len(DATA)
    assert blobs_of(registry) == {DIGEST}
    assert registry.collect(grace_s=0).bytes == len(DATA)
    assert blobs_of(registry) == set()


def test_more_than_one_transaction_condemns(registry, engine):
    for number in range(60):
        upload(registry, b"%d" % number)
    pass_time(engine, AFTER_LEASE_S)
    assert registry.collect(grace_s=0).blobs == 60
    assert blobs_of(registry) == set()


def test_a_dry_run_tells_what_a_run_does(registry, push, engine):
    for fill in (0.1, 0.2, 0.3, 0.4):
        push(fill=fill)
    registry.put_tenant("acme", TenantBounds(keep_versions=1))
    upload(registry, b"old", "globex")
    pass_time(engine, AFTER_LEASE_S)
    upload(registry)
    before = registry.snapshot(), registry.audit(), blobs_of(registry)
    told = registry.collect(dry_run=True, grace_s=0)
    assert (registry.snapshot(), registry.audit(), blobs_of(registry)) == before
    done = registry.collect(grace_s=0)
    assert done == told.model_copy(update={"dry_run": False})
    assert (done.retired, done.blobs, done.kept_by_lease) == (("acme/support@2", "acme/support@3"), 3, 1)
    assert state(registry) == "acme/support: 1 4 | production=1/1"


def test_retention_keeps_what_a_rollback_would_go_to(registry, push):
    for fill in (0.1, 0.2, 0.3, 0.4, 0.5):
        push(fill=fill)
    registry.move_alias(*ACME, "production", 2, 1)
    registry.move_alias(*ACME, "production", 3, 2)
    registry.put_tenant("acme", TenantBounds(keep_versions=1))
    seq = registry.snapshot().seq
    assert registry.collect().retired == ("acme/support@1", "acme/support@4")
    assert registry.rollback(*ACME).version == 2
    assert [adapter.name for adapter in registry.changes(seq).adapters] == ["support"], "gateways hear of it"
    assert registry.collect().retired == ("acme/support@3",), "one rollback back, nothing leads to it any more"


def test_an_upload_of_bytes_that_are_being_deleted_puts_them_once_more(other, between, engine):
    """They were in the store when it looked, and the collector came before its lease."""
    upload(other)
    pass_time(engine, AFTER_LEASE_S)
    between.after_put = lambda: other.collect(grace_s=0)
    upload(other)
    assert blobs_of(other) == {DIGEST}
    assert other.holds("acme", DIGEST)
    assert other.collect(grace_s=0).blobs == 0


def test_bytes_that_are_being_deleted_cannot_be_taken(other, between, engine):
    upload(other)
    pass_time(engine, AFTER_LEASE_S)
    refused = []

    def take() -> None:
        assert blobs_of(other) == {DIGEST}, "they are there still"
        with pytest.raises(BlobNotFound) as caught:
            other.uploaded("globex", DIGEST, len(DATA))
        refused.append(caught.value)

    between.before_delete = take
    assert other.collect(grace_s=0).blobs == 1
    assert refused
    upload(other)
    assert blobs_of(other) == {DIGEST}


def test_bytes_that_the_store_lost_are_not_acknowledged(registry):
    with pytest.raises(BlobNotFound):
        registry.uploaded("acme", DIGEST, len(DATA))
    assert not registry.holds("acme", DIGEST)


def fail() -> None:
    raise StorageFailed("away")


def test_what_a_collector_left_behind_may_be_taken_after_a_while(other, between, engine):
    upload(other)
    pass_time(engine, AFTER_LEASE_S)
    between.before_delete = fail
    with pytest.raises(StorageFailed):
        other.collect(grace_s=0)
    with pytest.raises(BlobNotFound):
        other.uploaded("acme", DIGEST, len(DATA))
    assert other.collect(grace_s=0).blobs == 0, "the other collector may be at it still"
    pass_time(engine, ABANDONED_S)
    other.uploaded("acme", DIGEST, len(DATA))
    assert other.collect(grace_s=0).blobs == 0
    assert blobs_of(other) == {DIGEST}


def test_what_a_collector_left_behind_goes_with_a_later_one(other, between, engine):
    upload(other)
    upload(other, b"other")
    pass_time(engine, AFTER_LEASE_S)
    between.before_delete = fail
    with pytest.raises(StorageFailed):
        other.collect(grace_s=0)
    assert len(blobs_of(other)) == 2
    pass_time(engine, ABANDONED_S)
    assert other.collect(grace_s=0).blobs == 2
    assert blobs_of(other) == set()


def test_an_upload_that_meets_a_collector_at_every_put_is_to_be_repeated(other, between, engine):
    upload(other)
    pass_time(engine, AFTER_LEASE_S)
    between.before_delete = fail
    with pytest.raises(StorageFailed):
        other.collect(grace_s=0)
    staged = other.staging.begin("acme", DIGEST)
    staged.write(DATA)
    with pytest.raises(StorageFailed) as caught:
        keep(staged, other.staging, other.blobs, other.uploaded)
    assert caught.value.retry_after_s
    assert other.staging.partial("acme", DIGEST).size == len(DATA), "only the end need be repeated"


def publish_while(registry, tmp_path, meanwhile: Callable[[], object]):
    """Publish an adapter; its check takes long enough for ``meanwhile``."""

    def slow(*arguments: Any) -> Any:
        meanwhile()
        return judge(*arguments)

    path = artifacts.folder(tmp_path / "a")
    for file in artifacts.files(path):
        store(registry, "acme", (path / file.path).read_bytes())
    checking = Registry(registry.metadata, registry.blobs, registry.staging, LIMITS, check=slow)
    return checking.publish(*ACME, artifacts.files(path), Origin())


def test_a_collection_during_a_publication_takes_nothing_of_it(registry, tmp_path):
    published = publish_while(registry, tmp_path, lambda: registry.collect(grace_s=0))
    files = registry.version(published.record.digest).manifest.files
    assert blobs_of(registry) == {file.digest for file in files}


def test_a_publication_that_outlasts_its_leases_is_refused(registry, engine, tmp_path):
    with pytest.raises(BlobMissing):
        publish_while(registry, tmp_path, lambda: pass_time(engine, AFTER_LEASE_S))
    assert state(registry) == ""
