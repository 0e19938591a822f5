"""Which sequence runs next, and which is preempted when blocks run out: pure functions of the scheduler's queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from collections.abc import Sequence as Seq

from adapters_registry.edge.shares import fits
from service.engine.sequence import Sequence

ROW_SHARE = 0.8
"""The share of running sequences that a single tenant may have."""


def by_right(running: Seq[Sequence]) -> list[Sequence]:
    """The running sequences in order of admission, but each tenant's oldest one before all others."""
    oldest: dict[str, Sequence] = {}
    for sequence in running:
        oldest.setdefault(sequence.tenant, sequence)
    return [*oldest.values(), *(s for s in running if oldest[s.tenant] is not s)]


def next_tenant(
    running: Seq[Sequence],
    limit: int,
    waiting: Mapping[str, Seq[Sequence]],
    served: Mapping[str, float],
    rows: Mapping[str, int],
) -> str | None:
    """The tenant whose first waiting sequence is admitted: of those with ``rows`` left, the least served one.

    No tenant gets the last of the ``limit`` places of running sequences.
    """
    free, held = limit - len(running), Counter(s.tenant for s in running)
    able = (t for t, queue in waiting.items() if queue and rows.get(t))
    tenants = [t for t in able if fits(free, held[t], share=ROW_SHARE)]
    return min(tenants, key=lambda t: served[t]) if tenants else None


def victim(running: Seq[Sequence], planned: Set[Sequence]) -> Sequence | None:
    """The sequence to preempt: the last one of the tenant with the most blocks; each tenant keeps its oldest one.

    Never one of the ``planned`` sequences, which have rows in the step already.
    """
    held: Counter[str] = Counter()
    further = []
    for sequence in running:
        if sequence.tenant in held and sequence not in planned:
            further.append(sequence)
        held[sequence.tenant] += len(sequence.blocks)
    if further:
        return max(reversed(further), key=lambda s: held[s.tenant])
    return next((s for s in reversed(running) if s not in planned), None)
