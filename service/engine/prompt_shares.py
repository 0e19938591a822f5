"""How a step's prompt rows are shared by tenants. Pure."""

from __future__ import annotations

from collections.abc import Mapping

LEAST = 16
"""Rows below which shares are not cut: where more tenants want rows than that allows, the last ones wait."""
BESIDE = 4
"""While another tenant decodes, a tenant has a quarter of the step's prompt rows: a step of 2 ridges (see ``ridge``)
takes about 3 times as long as one that only decodes, and one of 8 ridges 9 times."""
LEAST_BESIDE = 32


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
