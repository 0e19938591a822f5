from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters_registry.records import TenantBounds
from adapters_registry.retention import retire
from adapters_registry.rows import Candidate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NONE = TenantBounds()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def chain(count: int, **changes: int) -> list[Candidate]:
    """Versions 1, 2, ... of one adapter, each trained from the one before, the last one made today, one a day."""
    return [
        Candidate(
            id=n,
            tenant_id=1,
            adapter_id=1,
            tenant="acme",
            name="support",
            number=n,
            digest=digest(n),
            parent=digest(n - 1) if changes.get("parents") and n > 1 else None,
            created_at=NOW - timedelta(days=count - n),
        )
        for n in range(1, count + 1)
    ]


def gone(candidates: list[Candidate], bounds: TenantBounds, *pinned: int) -> list[int]:
    return [c.id for c in retire(candidates, {1: bounds, 2: bounds}, frozenset(pinned), NOW)]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (NONE, []),
        (TenantBounds(keep_versions=2), [1, 2, 3, 4]),
        (TenantBounds(keep_versions=6), []),
        (TenantBounds(keep_versions=60), []),
        (TenantBounds(keep_days=1), [1, 2, 3, 4, 5]),
        (TenantBounds(keep_days=2), [1, 2, 3, 4]),
        (TenantBounds(keep_days=60), []),
        (TenantBounds(keep_versions=1, keep_days=3), [1, 2, 3]),
        (TenantBounds(keep_versions=3, keep_days=1), [1, 2, 3]),
    ],
)
def test_a_version_goes_if_every_rule_lets_it_go(bounds, expected):
    assert gone(chain(6), bounds) == expected


def test_what_is_pinned_stays_and_counts_among_the_newest():
    assert gone(chain(6), TenantBounds(keep_versions=2), 1, 6) == [2, 3, 4]


def test_the_parent_of_what_stays_stays_too_but_not_its_parent():
    assert gone(chain(6, parents=1), TenantBounds(keep_versions=2)) == [1, 2, 3]
    assert gone(chain(6, parents=1), TenantBounds(keep_versions=1), 3) == [1, 4]


def test_a_parent_in_another_adapter_of_the_tenant_stays():
    child = chain(1)[0]._replace(id=7, adapter_id=2, name="other", parent=digest(1))
    assert gone([*chain(3), child], TenantBounds(keep_versions=1)) == [2]


def test_another_tenants_claim_keeps_nothing():
    claim = chain(1)[0]._replace(id=7, adapter_id=2, tenant_id=2, tenant="globex", parent=digest(1))
    assert gone([*chain(3), claim], TenantBounds(keep_versions=1)) == [1, 2]


def test_each_adapter_has_its_newest_and_each_tenant_its_rule():
    other = [c._replace(id=c.id + 10, adapter_id=2) for c in chain(3)]
    theirs = [c._replace(id=c.id + 20, adapter_id=3, tenant_id=2) for c in chain(3)]
    rules = {1: TenantBounds(keep_versions=2), 2: NONE}
    found = retire([*chain(3), *other, *theirs], rules, frozenset(), NOW)
    assert [c.id for c in found] == [1, 11]
