from __future__ import annotations

import threading

import pytest

from adapters_registry.collector import COLLECTOR, collecting
from adapters_registry.errors import StorageFailed
from adapters_registry.records import Collected
from tests.adapters_registry.conftest import store

NOTHING = Collected(dry_run=False, retired=(), blobs=0, bytes=0, kept_by_lease=0)


def test_it_collects_until_it_ends_and_survives_a_failure():
    thrice, calls = threading.Event(), list[int]()

    def collect() -> Collected:
        calls.append(1)
        if len(calls) == 1:
            raise StorageFailed("as the test wants it")
        if len(calls) == 3:
            thrice.set()
        return NOTHING

    with collecting(collect, 0.001):
        assert thrice.wait(60)
    count = len(calls)
    assert not [thread for thread in threading.enumerate() if thread.name == "collector"]
    assert len(calls) == count


def test_it_can_be_off():
    with collecting(lambda: pytest.fail("collected"), None):
        assert not [thread for thread in threading.enumerate() if thread.name == "collector"]


def test_the_audit_names_it(registry):
    digest = store(registry, "acme", b"nobody wants it")
    with registry.metadata.writing() as rows:
        rows.blobs.end_leases(rows.tenants.make("acme"), [digest])
    done = registry.collect(dry_run=False, grace_s=0, by=COLLECTOR)
    assert (done.blobs, registry.blobs.size(digest)) == (1, None)
    assert registry.audit().entries[-1].actor == "collector"
