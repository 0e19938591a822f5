"""The change feed, which is the audit log: one chained row per change."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import sqlalchemy as sa

from adapters_registry.chain import GENESIS, link
from adapters_registry.records import AuditEntry
from adapters_registry.rows.values import Change, now
from adapters_registry.tables import audit, feed, utc

_FEED = 1
_ENTRIES_PER_QUERY = 1000


class FeedRows:
    """Changes in commit order."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def start(self) -> None:
        """The first seq is the time of creation in ms, so that a ``since`` of another database is never in the
        history.

        If several processes start at once on an empty database, one creates the row and the others find it.
        """
        values = {"id": _FEED, "seq": time.time_ns() // 1_000_000, "head": GENESIS}
        into = "INSERT INTO feed (id, first_seq, seq, head) VALUES (:id, :seq, :seq, :head) ON CONFLICT DO NOTHING"
        if self._db.execute(sa.select(feed.c.id)).first() is None:
            self._db.execute(sa.text(into), values)

    def lock(self) -> None:
        """Block all other writers, also those of other processes, until the transaction ends."""
        self._db.execute(sa.select(feed.c.seq).with_for_update())

    def seq(self) -> int:
        return int(self._db.execute(sa.select(feed.c.seq)).scalar_one())

    def first_seq(self) -> int:
        return int(self._db.execute(sa.select(feed.c.first_seq)).scalar_one())

    def head(self) -> str:
        """The digest of the last entry."""
        return str(self._db.execute(sa.select(feed.c.head)).scalar_one())

    def head_at(self, seq: int) -> str | None:
        """The digest of the entry ``seq``; None if there is none."""
        if seq == self.first_seq():
            return GENESIS
        found = self._db.execute(sa.select(audit.c.digest).where(audit.c.seq == seq)).scalar()
        return None if found is None else str(found)

    def record(self, change: Change, actor: str) -> int:
        """Add ``change`` to the audit log; returns its seq."""
        seq, prev, at = self.seq() + 1, self.head(), now()
        detail = None if change.detail is None else json.dumps(change.detail, sort_keys=True, separators=(",", ":"))
        entry = change._asdict() | {"detail": detail, "actor": actor}
        digest = link(prev, seq, at, actor, change.action, change.subject, change.alias, detail)
        self._db.execute(audit.insert().values(seq=seq, at=at, prev=prev, digest=digest, **entry))
        self._db.execute(feed.update().values(seq=seq, head=digest))
        return seq

    def touched(self, since: int) -> frozenset[int]:
        """Adapters changed after ``since``."""
        query = sa.select(audit.c.adapter_id).where(audit.c.seq > since, audit.c.adapter_id.is_not(None)).distinct()
        return frozenset(self._db.execute(query).scalars())

    def keys_touched(self, since: int) -> bool:
        """Whether a key changed after ``since``."""
        query = sa.select(audit.c.seq).where(audit.c.seq > since, audit.c.action.startswith("key.")).limit(1)
        return self._db.execute(query).first() is not None

    def tenants_touched(self, since: int) -> bool:
        """Whether a tenant's limits changed after ``since``."""
        query = sa.select(audit.c.seq).where(audit.c.seq > since, audit.c.action == "tenant.put").limit(1)
        return self._db.execute(query).first() is not None

    def entries(self, after: int, limit: int) -> list[AuditEntry]:
        """Oldest first."""
        query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
        return [
            AuditEntry(
                seq=row.seq,
                at=utc(row.at),
                actor=row.actor,
                action=row.action,
                subject=row.subject,
                alias=row.alias,
                detail=row.detail,
                prev=row.prev,
                digest=row.digest,
            )
            for row in self._db.execute(query)
        ]

    def all_entries(self) -> Iterator[AuditEntry]:
        """Oldest first, read in portions."""
        after = 0
        while found := self.entries(after, _ENTRIES_PER_QUERY):
            yield from found
            after = found[-1].seq
