"""Bases that services announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from adapters_registry.announcing import Announcement, with_announcement
from adapters_registry.choosing import KnownBase, is_served, only
from adapters_registry.manifest import BaseManifest
from adapters_registry.records import BaseRecord
from adapters_registry.rows.values import now
from adapters_registry.tables import bases, utc

_ANNOUNCEMENTS = TypeAdapter(tuple[Announcement, ...])


class BaseRows:
    """Queries of bases, which uploads are checked against."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def put(self, manifest: BaseManifest, announced_seq: int) -> None:
        """Record an announcement now, of a new base or with new contents."""
        values = {
            "name": manifest.name,
            "manifest": manifest.model_dump_json(exclude={"runs"}),
            "announced_seq": announced_seq,
            "announced_at": now(),
        }
        updated = self._db.execute(bases.update().where(bases.c.digest == manifest.digest).values(values))
        if updated.rowcount == 0:
            self._db.execute(bases.insert().values(digest=manifest.digest, **values))

    def touch(self, digest: str) -> None:
        """Record an announcement now, with nothing new."""
        self._db.execute(bases.update().where(bases.c.digest == digest).values(announced_at=now()))

    def record_announcement(self, digest: str, runs: Sequence[str] | None) -> None:
        """Record what a service that announced the base now can run."""
        current = with_announcement(self.announcements(digest), runs, now())
        values = {"announcements": _ANNOUNCEMENTS.dump_json(current).decode()}
        self._db.execute(bases.update().where(bases.c.digest == digest).values(values))

    def announcements(self, digest: str) -> tuple[Announcement, ...]:
        """What its services can run, most recently announced first; empty if announced by a release that did not
        store it."""
        text = self._db.execute(sa.select(bases.c.announcements).where(bases.c.digest == digest)).scalar()
        return () if text is None else _ANNOUNCEMENTS.validate_json(text)

    def announced_at(self, digest: str) -> datetime | None:
        moment = self._db.execute(sa.select(bases.c.announced_at).where(bases.c.digest == digest)).scalar()
        return None if moment is None else utc(moment)

    def get(self, digest: str) -> BaseManifest | None:
        text = self._db.execute(sa.select(bases.c.manifest).where(bases.c.digest == digest)).scalar()
        return None if text is None else BaseManifest.model_validate_json(text)

    def known(self) -> tuple[KnownBase, ...]:
        """Most recently announced with new contents first: repeated announcements do not change the order."""
        moment = now()
        query = sa.select(bases.c.digest, bases.c.name, bases.c.announced_at).order_by(bases.c.announced_seq.desc())
        return tuple(_known(row, moment) for row in self._db.execute(query))

    def all(self) -> tuple[BaseRecord, ...]:
        """As ``known``, with fields for people."""
        known = self.known()
        default = only(known)
        query = sa.select(bases.c.digest, bases.c.manifest)
        manifests = {row.digest: BaseManifest.model_validate_json(row.manifest) for row in self._db.execute(query)}
        return tuple(_record(manifests[base.digest], base, base == default) for base in known)


def _known(row: Any, moment: datetime) -> KnownBase:
    announced_at = None if row.announced_at is None else utc(row.announced_at)
    return KnownBase(digest=row.digest, name=row.name, served=is_served(announced_at, moment))


def _record(manifest: BaseManifest, known: KnownBase, latest: bool) -> BaseRecord:
    return BaseRecord(
        digest=manifest.digest,
        name=manifest.name,
        architecture=manifest.architecture,
        dtype=manifest.dtype,
        latest=latest,
        served=known.served,
    )
