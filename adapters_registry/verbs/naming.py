"""Names that an adapter may have: none that a request for it would not reach."""

from __future__ import annotations

from adapters_registry.errors import InvalidValue
from adapters_registry.findings import Note
from adapters_registry.rows import Rows


def check_name(rows: Rows, tenant: str, name: str) -> tuple[Note, ...]:
    """Refuses a new adapter under a base's name, which is matched whole before any adapter's.

    An adapter that was there before the base gets its versions all the same, and a note of how to reach it.
    """
    if not {name, f"{tenant}/{name}"} & {base.name for base in rows.bases.known()}:
        return ()
    row = rows.adapters.get(tenant, name)
    if row is None or row.deleted:
        raise InvalidValue(
            f"{name} is the name of a base, and a request for it would get the base: push under another name.",
            param="name",
        )
    return (
        Note.of("base_name", f"A base has this name: requests reach the adapter as {tenant}/{name}@production only."),
    )
