"""The registry's benchmark on a handful of adapters: every figure is there, and the rows are a registry's."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters_registry.feed import Feed
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from loadtest.bench_registry import Work, fill, measure

WORK = Work(adapters=3, versions=2, modules=2, resolves=5, lookups=7, snapshots=2, moves=3)


def test_the_rows_are_what_a_registry_would_have_written(tmp_path: Path) -> None:
    fill(tmp_path / "data", WORK)
    with open_registry(tmp_path / "data", Limits(), Feed().committed) as registry:
        adapters = registry.page().adapters
        assert [len(adapter.versions) for adapter in adapters] == [2, 2, 2]
        assert [adapter.aliases[0].version for adapter in adapters] == [2, 2, 2]
        for adapter in adapters:
            for version in adapter.versions:
                assert registry.version(version.digest).manifest.digest == version.digest
        assert registry.verify_audit().entries == 1 + 3 * (2 + 1)


@pytest.mark.acceptance
def test_every_figure_is_there() -> None:
    found = measure(WORK)
    assert {name: len(samples) for name, samples in found["samples_s"].items()} == {
        "registry resolve over HTTP": 5,
        "list page of 500 over HTTP": 1,
        "snapshot over HTTP": 2,
        "gateway takes the snapshot": 1,
        "gateway look-up": 7,
        "alias move until the gateway has it": 3,
    }
    assert min(sample for samples in found["samples_s"].values() for sample in samples) > 0
    assert 0 < found["gateway_live_bytes"] < found["registry_resident_bytes"]
    assert found["database_bytes"] > found["snapshot_bytes"] > 0
