"""Shares a step's prompt rows between tenants. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from collections.abc import Sequence as Seq

from service.engine.sequence import Sequence

LEAST = 16
"""Least rows of a share; if there are too few rows for all tenants, the last ones wait."""
SHARED_PARTS = 4
"""While another tenant decodes, a tenant has at most this part of the step's prompt rows, because long steps delay
decoding."""
LEAST_SHARED = 32


def prompt_rows(
    left: int,
    most: int | None,
    decoding: Set[str],
    prompts: Seq[Sequence],
    waiting: Mapping[str, Seq[Sequence]],
    served: Mapping[str, float],
) -> dict[str, int]:
    """The bound on prompt rows of each tenant with prompts, of the ``left`` rows of a step.

    ``decoding`` are the tenants with rows in the step already; if there are any, ``most`` bounds the prompt rows.
    ``prompts`` have begun; some of the ``waiting`` sequences may be admitted.

    Tenants whose prompts have begun come first: otherwise they could hold the blocks that all others wait for. Then
    come those ``served`` least.
    """
    if decoding and most is not None:
        left = min(left, most)
    wanted = Counter[str]()
    for sequence in prompts:
        wanted[sequence.tenant] += sequence.pending
    begun = set(wanted)
    for tenant, queue in waiting.items():
        if queue:
            wanted[tenant] += _pending(queue, left)
    right = sorted(wanted, key=lambda tenant: (tenant not in begun, served[tenant]))
    shared = left if most is None else shared_rows(most)
    return shares(left, {t: min(wanted[t], shared) if decoding - {t} else wanted[t] for t in right})


def shared_rows(rows: int) -> int:
    """Bound on one tenant's prompt rows while another tenant decodes; ``rows`` is the step's bound on prompt rows."""
    return min(rows, max(LEAST_SHARED, rows // SHARED_PARTS))


def shares(rows: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Split ``rows`` between tenants, by the number that each one needs; earlier tenants in ``wanted`` are first.

    No tenant gets more than it needs, and all together at most ``rows``. Rows that one leaves go to later ones.
    """
    sharers = min(len(wanted), max(2, rows // LEAST))
    found: dict[str, int] = {}
    for at, (tenant, most) in enumerate(wanted.items()):
        found[tenant] = min(most, -(-rows // max(1, sharers - at)))
        rows -= found[tenant]
    return found


def _pending(queue: Iterable[Sequence], enough: int) -> int:
    """Rows of waiting sequences, counted until there are ``enough``."""
    found = 0
    for sequence in queue:
        found += sequence.length - sequence.given
        if found >= enough:
            break
    return found
