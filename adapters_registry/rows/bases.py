"""Bases that services announced."""

from __future__ import annotations

import sqlalchemy as sa

from adapters_registry.manifest import BaseManifest
from adapters_registry.records import BaseRecord
from adapters_registry.tables import bases


class BaseRows:
    """What uploads are checked against."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def put(self, manifest: BaseManifest, announced_seq: int) -> None:
        values = {"name": manifest.name, "manifest": manifest.model_dump_json(), "announced_seq": announced_seq}
        updated = self._db.execute(bases.update().where(bases.c.digest == manifest.digest).values(values))
        if updated.rowcount == 0:
            self._db.execute(bases.insert().values(digest=manifest.digest, **values))

    def get(self, reference: str | None) -> BaseManifest | None:
        """By digest, or the last announced of that name; None is the last announced of all."""
        query = sa.select(bases.c.manifest).order_by(bases.c.announced_seq.desc()).limit(1)
        if reference is not None:
            query = query.where(sa.or_(bases.c.digest == reference, bases.c.name == reference))
        text = self._db.execute(query).scalar()
        return None if text is None else BaseManifest.model_validate_json(text)

    def all(self) -> tuple[BaseRecord, ...]:
        """Last announced first."""
        texts = self._db.execute(sa.select(bases.c.manifest).order_by(bases.c.announced_seq.desc())).scalars()
        manifests = [BaseManifest.model_validate_json(text) for text in texts]
        return tuple(
            BaseRecord(digest=m.digest, name=m.name, architecture=m.architecture, dtype=m.dtype, latest=i == 0)
            for i, m in enumerate(manifests)
        )
