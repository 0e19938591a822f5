"""Rows in and out of the database: every query has a name here, and a row becomes a frozen value here."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import JsonValue

from adapters_registry.database import translated
from adapters_registry.history import Move, MoveKind
from adapters_registry.manifest import BaseManifest, File, Manifest
from adapters_registry.records import AdapterRecord, AliasRecord, BaseRecord, VersionDetail, VersionRecord
from adapters_registry.tables import (
    adapters,
    aliases,
    audit,
    bases,
    blobs,
    feed,
    tenants,
    utc,
    version_files,
    versions,
)

_FEED = 1
_IDS_PER_QUERY = 500  # databases bound the parameters of one statement


class AdapterRow(NamedTuple):
    """An adapter, deleted or not."""

    id: int
    deleted: bool


class VersionRow(NamedTuple):
    """A version, deleted or not."""

    id: int
    record: VersionRecord
    deleted: bool


class AliasRow(NamedTuple):
    """An alias; ``version_id`` is None once it was deleted."""

    version_id: int | None
    generation: int


class Change(NamedTuple):
    """What the audit says of one change."""

    action: str
    subject: str
    adapter_id: int | None = None
    alias: str | None = None
    version_id: int | None = None


class Metadata:
    """The database. Transactions are short; writing ones run one at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = threading.Lock()
        with self.writing() as rows:
            rows.start_feed()

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """One consistent view."""
        with translated(), self._engine.begin() as connection:
            yield Rows(connection)

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        """Durable when the block ends; absent when it raises."""
        with self._writer, translated(), self._engine.begin() as connection:
            rows = Rows(connection)
            rows.lock()
            yield rows

    def close(self) -> None:
        self._engine.dispose()


class Rows:
    """The named queries, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection

    # The change feed

    def start_feed(self) -> None:
        """The first seq is the time of creation in ms: a ``since`` of another database is never in the history."""
        if self._db.execute(sa.select(feed.c.id)).first() is None:
            now = time.time_ns() // 1_000_000
            self._db.execute(feed.insert().values(id=_FEED, first_seq=now, seq=now))

    def lock(self) -> None:
        """Lets no other writer in until the transaction ends, also one of another process."""
        self._db.execute(sa.select(feed.c.seq).with_for_update())

    def seq(self) -> int:
        return int(self._db.execute(sa.select(feed.c.seq)).scalar_one())

    def first_seq(self) -> int:
        return int(self._db.execute(sa.select(feed.c.first_seq)).scalar_one())

    def record(self, change: Change, *, actor: str = "anonymous") -> int:
        """Add ``change`` to the audit; its seq."""
        self._db.execute(feed.update().values(seq=feed.c.seq + 1))
        seq = self.seq()
        self._db.execute(audit.insert().values(seq=seq, at=_now(), actor=actor, **change._asdict()))
        return seq

    def touched(self, since: int) -> frozenset[int]:
        """Adapters changed after ``since``."""
        query = sa.select(audit.c.adapter_id).where(audit.c.seq > since, audit.c.adapter_id.is_not(None)).distinct()
        return frozenset(self._db.execute(query).scalars())

    # Bases

    def put_base(self, manifest: BaseManifest, announced_seq: int) -> None:
        values = {
            "name": manifest.name,
            "manifest": manifest.model_dump_json(),
            "announced_seq": announced_seq,
        }
        updated = self._db.execute(bases.update().where(bases.c.digest == manifest.digest).values(values))
        if updated.rowcount == 0:
            self._db.execute(bases.insert().values(digest=manifest.digest, **values))

    def base(self, reference: str | None) -> BaseManifest | None:
        """By digest, or the last announced of that name; None is the last announced of all."""
        query = sa.select(bases.c.manifest).order_by(bases.c.announced_seq.desc()).limit(1)
        if reference is not None:
            query = query.where(sa.or_(bases.c.digest == reference, bases.c.name == reference))
        text = self._db.execute(query).scalar()
        return None if text is None else BaseManifest.model_validate_json(text)

    def bases(self) -> tuple[BaseRecord, ...]:
        """Last announced first."""
        texts = self._db.execute(sa.select(bases.c.manifest).order_by(bases.c.announced_seq.desc())).scalars()
        manifests = [BaseManifest.model_validate_json(text) for text in texts]
        return tuple(
            BaseRecord(digest=m.digest, name=m.name, architecture=m.architecture, dtype=m.dtype, latest=i == 0)
            for i, m in enumerate(manifests)
        )

    # Adapters

    def adapter(self, tenant: str, name: str) -> AdapterRow | None:
        query = (
            sa.select(adapters.c.id, adapters.c.deleted_at)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(tenants.c.name == tenant, adapters.c.name == name)
        )
        row = self._db.execute(query).first()
        return None if row is None else AdapterRow(row.id, row.deleted_at is not None)

    def add_adapter(self, tenant: str, name: str) -> int:
        values = {"tenant_id": self._tenant(tenant), "name": name, "next_number": 1, "created_at": _now()}
        return _key(self._db.execute(adapters.insert().values(values)))

    def revive_adapter(self, adapter_id: int) -> None:
        self._db.execute(
            adapters.update().where(adapters.c.id == adapter_id).values(deleted_at=None, created_at=_now())
        )

    def delete_adapter(self, adapter_id: int) -> None:
        """With all its versions and aliases; its numbers and generations are never used again."""
        now = _now()
        self._db.execute(adapters.update().where(adapters.c.id == adapter_id).values(deleted_at=now))
        self._db.execute(
            versions.update()
            .where(versions.c.adapter_id == adapter_id, versions.c.deleted_at.is_(None))
            .values(deleted_at=now)
        )
        self._db.execute(
            aliases.update()
            .where(aliases.c.adapter_id == adapter_id, aliases.c.version_id.is_not(None))
            .values(version_id=None, generation=aliases.c.generation + 1)
        )

    def page(self, tenant: str | None, after: tuple[str, str], limit: int) -> list[int]:
        """Ids of live adapters after (tenant, name), in that order."""
        query = (
            sa.select(adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(
                adapters.c.deleted_at.is_(None),
                sa.or_(
                    tenants.c.name > after[0],
                    sa.and_(tenants.c.name == after[0], adapters.c.name > after[1]),
                ),
            )
            .order_by(tenants.c.name, adapters.c.name)
            .limit(limit)
        )
        if tenant is not None:
            query = query.where(tenants.c.name == tenant)
        return list(self._db.execute(query).scalars())

    def records(self, ids: Collection[int] | None = None) -> tuple[AdapterRecord, ...]:
        """Adapters with live versions and aliases, by tenant and name; None is all that are not deleted."""
        if ids is None:
            return self._records(None)
        wanted = sorted(ids)
        parts = [wanted[i : i + _IDS_PER_QUERY] for i in range(0, len(wanted), _IDS_PER_QUERY)]
        return tuple(sorted((r for part in parts for r in self._records(part)), key=lambda r: (r.tenant, r.name)))

    def _records(self, ids: Sequence[int] | None) -> tuple[AdapterRecord, ...]:
        heads = sa.select(adapters.c.id, tenants.c.name.label("tenant"), adapters.c.name, adapters.c.created_at)
        heads = heads.join(tenants, adapters.c.tenant_id == tenants.c.id).order_by(tenants.c.name, adapters.c.name)
        live = sa.select(versions).where(versions.c.deleted_at.is_(None)).order_by(versions.c.number)
        pointers = (
            sa.select(
                aliases.c.adapter_id, aliases.c.alias, aliases.c.generation, versions.c.number, versions.c.digest
            )
            .join(versions, aliases.c.version_id == versions.c.id)
            .order_by(aliases.c.alias)
        )
        if ids is None:
            heads = heads.where(adapters.c.deleted_at.is_(None))
        else:
            heads = heads.where(adapters.c.id.in_(ids))
            live = live.where(versions.c.adapter_id.in_(ids))
            pointers = pointers.where(aliases.c.adapter_id.in_(ids))
        versions_of: dict[int, list[VersionRecord]] = defaultdict(list)
        for row in self._db.execute(live):
            versions_of[row.adapter_id].append(_version(row))
        aliases_of: dict[int, list[AliasRecord]] = defaultdict(list)
        for row in self._db.execute(pointers):
            aliases_of[row.adapter_id].append(
                AliasRecord(alias=row.alias, version=row.number, digest=row.digest, generation=row.generation)
            )
        return tuple(
            AdapterRecord(
                tenant=row.tenant,
                name=row.name,
                created_at=utc(row.created_at),
                versions=tuple(versions_of[row.id]),
                aliases=tuple(aliases_of[row.id]),
            )
            for row in self._db.execute(heads)
        )

    # Versions

    def add_version(self, adapter_id: int, manifest: Manifest, lineage: Mapping[str, JsonValue]) -> VersionRow:
        """Blobs' rows, then the version under the adapter's next number."""
        number = self._db.execute(sa.select(adapters.c.next_number).where(adapters.c.id == adapter_id)).scalar_one()
        self._db.execute(adapters.update().where(adapters.c.id == adapter_id).values(next_number=number + 1))
        for file in manifest.files:
            self._link_blob(file)
        values: dict[str, Any] = {
            "number": number,
            "digest": manifest.digest,
            "base": manifest.base,
            "kind": manifest.kind,
            "rank": manifest.rank,
            "size_bytes": sum(file.size for file in manifest.files),
            "created_at": _now(),
        }
        inserted = versions.insert().values(
            **values,
            adapter_id=adapter_id,
            manifest=manifest.canonical_json().decode(),
            lineage=json.dumps(lineage),
        )
        version_id = _key(self._db.execute(inserted))
        files = [{"version_id": version_id, "path": f.path, "blob": f.digest} for f in manifest.files]
        self._db.execute(version_files.insert(), files)
        return VersionRow(version_id, VersionRecord(**values), deleted=False)

    def live_versions(self, adapter_id: int) -> dict[int, VersionRow]:
        """By id."""
        return {row.id: row for row in self._versions(adapter_id, versions.c.deleted_at.is_(None))}

    def version(self, adapter_id: int, *, number: int | None = None, digest: str | None = None) -> VersionRow | None:
        """By number, or the live (else the newest deleted) one of ``digest``."""
        which = versions.c.number == number if digest is None else versions.c.digest == digest
        found = self._versions(adapter_id, which)
        return next((row for row in found if not row.deleted), found[-1] if found else None)

    def delete_version(self, version_id: int) -> None:
        self._db.execute(versions.update().where(versions.c.id == version_id).values(deleted_at=_now()))

    def detail(self, digest: str) -> tuple[VersionDetail, bool] | None:
        """The oldest live version with this digest (else a deleted one), and whether it is deleted.

        Two adapters given the same files have versions of the same digest: their manifests are equal.
        """
        query = (
            sa.select(versions, adapters.c.name, tenants.c.name.label("tenant"))
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(versions.c.digest == digest)
            .order_by(versions.c.deleted_at.is_not(None), versions.c.id)
            .limit(1)
        )
        row = self._db.execute(query).first()
        if row is None:
            return None
        detail = VersionDetail(
            tenant=row.tenant,
            name=row.name,
            record=_version(row),
            manifest=Manifest.model_validate_json(row.manifest),
            lineage=json.loads(row.lineage),
        )
        return detail, row.deleted_at is not None

    # Aliases

    def alias(self, adapter_id: int, alias: str) -> AliasRow | None:
        query = sa.select(aliases.c.version_id, aliases.c.generation).where(
            aliases.c.adapter_id == adapter_id, aliases.c.alias == alias
        )
        row = self._db.execute(query).first()
        return None if row is None else AliasRow(row.version_id, row.generation)

    def add_alias(self, adapter_id: int, alias: str, version_id: int) -> None:
        values = {"adapter_id": adapter_id, "alias": alias, "version_id": version_id, "generation": 1}
        self._db.execute(aliases.insert().values(values))

    def point_alias(self, adapter_id: int, alias: str, version_id: int | None, generation: int) -> bool:
        """Move it if it is still of ``generation``; whether it was."""
        moved = self._db.execute(
            aliases.update()
            .where(
                aliases.c.adapter_id == adapter_id,
                aliases.c.alias == alias,
                aliases.c.generation == generation,
            )
            .values(version_id=version_id, generation=generation + 1)
        )
        return moved.rowcount == 1

    def aliases_at(self, version_id: int) -> list[str]:
        query = sa.select(aliases.c.alias).where(aliases.c.version_id == version_id).order_by(aliases.c.alias)
        return list(self._db.execute(query).scalars())

    def moves(self, adapter_id: int, alias: str) -> list[Move]:
        """The alias' history, oldest first."""
        query = (
            sa.select(audit.c.action, audit.c.version_id)
            .where(
                audit.c.adapter_id == adapter_id,
                audit.c.alias == alias,
                audit.c.action.in_([kind.value for kind in MoveKind]),
            )
            .order_by(audit.c.seq)
        )
        return [Move(MoveKind(row.action), row.version_id) for row in self._db.execute(query)]

    def _tenant(self, name: str) -> int:
        found = self._db.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar()
        if found is not None:
            return int(found)
        return _key(self._db.execute(tenants.insert().values(name=name, created_at=_now())))

    def _link_blob(self, file: File) -> None:
        if self._db.execute(sa.select(blobs.c.digest).where(blobs.c.digest == file.digest)).first() is None:
            self._db.execute(blobs.insert().values(digest=file.digest, size=file.size, created_at=_now()))

    def _versions(self, adapter_id: int, which: sa.ColumnElement[bool]) -> list[VersionRow]:
        query = sa.select(versions).where(versions.c.adapter_id == adapter_id, which).order_by(versions.c.number)
        return [VersionRow(row.id, _version(row), row.deleted_at is not None) for row in self._db.execute(query)]


def _version(row: Any) -> VersionRecord:
    return VersionRecord(
        number=row.number,
        digest=row.digest,
        base=row.base,
        kind=row.kind,
        rank=row.rank,
        size_bytes=row.size_bytes,
        created_at=utc(row.created_at),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _key(result: sa.CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
