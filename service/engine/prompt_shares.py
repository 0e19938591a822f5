"""How a step's prompt rows are shared by tenants. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from collections.abc import Sequence as Seq

from service.engine.sequence import Sequence

LEAST = 16
"""Rows below which shares are not cut: where more tenants want rows than that allows, the last ones wait."""
BESIDE = 4
"""While another tenant decodes, a tenant has a quarter of the step's prompt rows: a step of 2 ridges (see ``ridge``)
takes about 3 times as long as one that only decodes, and one of 8 ridges 9 times."""
LEAST_BESIDE = 32


def prompt_rows(
    left: int,
    most: int | None,
    decoding: Set[str],
    prompts: Seq[Sequence],
    waiting: Mapping[str, Seq[Sequence]],
    served: Mapping[str, float],
) -> dict[str, int]:
    """Most prompt rows of each tenant that wants any, of the ``left`` rows of a step.

    ``decoding`` are the tenants with rows in the step already, and ``most`` is the limit on prompt rows if there are
    any. ``prompts`` have begun; of the ``waiting`` sequences some may be admitted.

    Tenants whose prompts have begun come first, or they could hold the blocks that all others wait for. Then come
    those ``served`` least.
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
    beside = left if most is None else beside_rows(most)
    return shares(left, {t: min(wanted[t], beside) if decoding - {t} else wanted[t] for t in right})


def beside_rows(rows: int) -> int:
    """Most prompt rows for one tenant while another one decodes, of the ``rows`` of a step in which any decodes."""
    return min(rows, max(LEAST_BESIDE, rows // BESIDE))


def shares(rows: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Split ``rows`` between tenants, by how many each one wants; earlier tenants in ``wanted`` are served first.

    Nobody has more than it wants; together at most ``rows``. What one leaves goes to those after it.
    """
    sharers = min(len(wanted), max(2, rows // LEAST))
    found: dict[str, int] = {}
    for at, (tenant, most) in enumerate(wanted.items()):
        found[tenant] = min(most, -(-rows // max(1, sharers - at)))
        rows -= found[tenant]
    return found


def _pending(queue: Iterable[Sequence], enough: int) -> int:
    """Rows of waiting sequences, counted until they are ``enough``."""
    found = 0
    for sequence in queue:
        found += sequence.length - sequence.given
        if found >= enough:
            break
    return found
