"""Bases: announced by serving planes, named by pushes."""

from __future__ import annotations

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.errors import BaseNotFound
from adapters_registry.manifest import BaseManifest
from adapters_registry.records import BaseRecord
from adapters_registry.rows import Change, Rows
from adapters_registry.verbs.base import Verbs


class BaseVerbs(Verbs):
    """What uploads are checked against."""

    def put_base(self, manifest: BaseManifest, by: Principal = ANONYMOUS) -> None:
        """Announce ``manifest``: from now on pushes without a base are checked against it."""
        with self.metadata.reading() as rows:
            if rows.bases.get(None) == manifest:
                return
        with self._changing() as rows:
            change = Change("base.put", manifest.digest, detail={"name": manifest.name})
            rows.bases.put(manifest, rows.record(change, actor=by.id))

    def base(self, digest: str) -> BaseManifest:
        with self.metadata.reading() as rows:
            return base_of(rows, digest)

    def bases(self) -> tuple[BaseRecord, ...]:
        with self.metadata.reading() as rows:
            return rows.bases.all()


def base_of(rows: Rows, reference: str | None) -> BaseManifest:
    """By digest or name; None is the last announced."""
    base = rows.bases.get(reference)
    if base is None and reference is None:
        raise BaseNotFound(
            "No base was announced yet: start the service on this registry first, then push.", param="base"
        )
    if base is None:
        raise BaseNotFound(
            f"No base {reference!r} was announced: see GET /v1/bases, or start the service with it.", param="base"
        )
    return base
