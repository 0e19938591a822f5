"""Which names an adapter may have: not those by which a request would not reach it."""

from __future__ import annotations

from adapters_registry.errors import InvalidValue
from adapters_registry.findings import Note
from adapters_registry.rows import Rows


def check_name(rows: Rows, tenant: str, name: str) -> tuple[Note, ...]:
    """Refuses a new adapter with a base's name: requests match base names before adapter names.

    An adapter that existed before the base may still get versions, with a note that explains how to request it.
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
