"""Which versions retention retires: a plain function of the versions and the tenants' rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters_registry.records import TenantBounds
from adapters_registry.rows.values import Candidate


def retire(
    candidates: Sequence[Candidate], rules: Mapping[int, TenantBounds], pinned: frozenset[int], now: datetime
) -> list[Candidate]:
    """Those of ``candidates`` (all live versions of tenants with rules, by id) that are retired, in their order.

    A version is kept if a rule of its tenant keeps it, if it is ``pinned`` (an alias points at it or would roll back
    to it), or if it is the parent of a version of the same tenant that is kept for one of these reasons. Parents of
    parents are not kept: otherwise a chain of versions, each trained from the one before, would be kept as a whole.
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
