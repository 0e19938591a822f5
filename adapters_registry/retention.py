"""Which versions retention retires: a plain function of what there is and of the tenants' rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters_registry.records import TenantBounds
from adapters_registry.rows.values import Candidate


def retire(
    candidates: Sequence[Candidate], rules: Mapping[int, TenantBounds], pinned: frozenset[int], now: datetime
) -> list[Candidate]:
    """Those of ``candidates`` (all live versions of tenants with rules, by id) that go, in their order.

    A version stays if a rule of its tenant keeps it, if it is ``pinned`` (an alias points at it or would go back to
    it), or if a version of the same tenant that stays for one of these reasons names it as its parent. Only for one
    of these: if a parent kept its own parent too, a chain of versions each trained from the one before would stay
    whole, and retention would do nothing where it is needed most.
    """
    kept = {c.id for c in candidates if c.id in pinned} | _by_rule(candidates, rules, now)
    parents = {(c.tenant_id, c.parent) for c in candidates if c.id in kept}
    return [c for c in candidates if c.id not in kept and (c.tenant_id, c.digest) not in parents]


def _by_rule(candidates: Sequence[Candidate], rules: Mapping[int, TenantBounds], now: datetime) -> set[int]:
    of_adapter: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        of_adapter[candidate.adapter_id].append(candidate)
    kept: set[int] = set()
    for siblings in of_adapter.values():
        siblings.sort(key=lambda candidate: -candidate.number)
        for place, candidate in enumerate(siblings):
            rule = rules[candidate.tenant_id]
            newest = rule.keep_versions is not None and place < rule.keep_versions
            young = rule.keep_days is not None and candidate.created_at > now - timedelta(days=rule.keep_days)
            if newest or young or (rule.keep_versions is None and rule.keep_days is None):
                kept.add(candidate.id)
    return kept
