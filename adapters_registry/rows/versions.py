"""Versions: immutable, numbered within their adapter; deleted ones keep their rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import JsonValue, TypeAdapter

from adapters_registry.findings import Inspection, Norms, Note
from adapters_registry.manifest import stored_manifest
from adapters_registry.names import is_digest
from adapters_registry.records import Evaluation, LineageNode, VersionDetail
from adapters_registry.rows.adapters import visible
from adapters_registry.rows.values import RECORD, Candidate, VersionRow, inserted_id, now, parts, version_record
from adapters_registry.tables import adapters, aliases, evaluations, tenants, utc, version_files, versions

_NOTES = TypeAdapter(tuple[Note, ...])


class VersionRows:
    """Queries of versions."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def add(self, adapter_id: int, found: Inspection, lineage: Mapping[str, JsonValue]) -> VersionRow:
        """Add a version under the adapter's next number. The rows of its blobs must exist."""
        number = self._db.execute(sa.select(adapters.c.next_number).where(adapters.c.id == adapter_id)).scalar_one()
        self._db.execute(adapters.update().where(adapters.c.id == adapter_id).values(next_number=number + 1))
        manifest = found.manifest
        values = {
            "adapter_id": adapter_id,
            "number": number,
            "digest": manifest.digest,
            "base": manifest.base,
            "kind": manifest.kind,
            "rank": manifest.rank,
            "size_bytes": sum(file.size for file in manifest.files),
            "manifest": manifest.canonical_json().decode(),
            "lineage": json.dumps(lineage),
            "parent": parent_of(lineage),
            "norms": found.norms.model_dump_json(),
            "notes": _NOTES.dump_json(found.notes).decode() if found.notes else None,
            "created_at": now(),
        }
        version_id = inserted_id(self._db.execute(versions.insert().values(values)))
        files = [{"version_id": version_id, "path": f.path, "blob": f.digest} for f in manifest.files]
        self._db.execute(version_files.insert(), files)
        (row,) = self._rows(versions.c.id == version_id)
        return row

    def live(self, adapter_id: int) -> dict[int, VersionRow]:
        """By id."""
        return {
            row.id: row for row in self._rows(versions.c.adapter_id == adapter_id, versions.c.deleted_at.is_(None))
        }

    def get(self, adapter_id: int, version: int | str) -> VersionRow | None:
        """By number, or by digest: the live version, otherwise the newest deleted one."""
        which = versions.c.number == version if isinstance(version, int) else versions.c.digest == version
        found = self._rows(versions.c.adapter_id == adapter_id, which)
        return next((row for row in found if not row.deleted), found[-1] if found else None)

    def number(self, version_id: int | None) -> int | None:
        """Number of the version; None for None."""
        query = sa.select(versions.c.number).where(versions.c.id == version_id)
        return self._db.execute(query).scalar()

    def delete(self, version_id: int) -> None:
        self._db.execute(versions.update().where(versions.c.id == version_id).values(deleted_at=now()))

    def detail(self, digest: str, tenant: str | None) -> tuple[VersionDetail, bool] | None:
        """The version with this digest that ``tenant`` owns, or one shared with it, and whether it is deleted.

        Two adapters with the same files have versions of the same digest, since their manifests are equal. Live ones
        come first, then the oldest; only the owner sees deleted ones. None sees those of all tenants.
        """
        query = (
            sa.select(versions, adapters.c.name, tenants.c.name.label("tenant"))
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(versions.c.digest == digest)
            .limit(1)
        )
        first: list[sa.ColumnElement[Any]] = [versions.c.deleted_at.is_not(None), versions.c.id]
        if tenant is not None:
            owned = tenants.c.name == tenant
            query = query.where(visible(tenant), sa.or_(owned, versions.c.deleted_at.is_(None)))
            first.insert(1, sa.not_(owned))
        row = self._db.execute(query.order_by(*first)).first()
        if row is None:
            return None
        detail = VersionDetail(
            tenant=row.tenant,
            name=row.name,
            record=version_record(row),
            manifest=stored_manifest(row.manifest),
            lineage=json.loads(row.lineage),
            norms=None if row.norms is None else Norms.model_validate_json(row.norms),
            notes=() if row.notes is None else _NOTES.validate_json(row.notes),
            evaluations=self.evaluations(row.id),
        )
        return detail, row.deleted_at is not None

    def evaluations(self, version_id: int) -> tuple[Evaluation, ...]:
        """By name."""
        query = sa.select(evaluations).where(evaluations.c.version_id == version_id).order_by(evaluations.c.name)
        return tuple(
            Evaluation(
                name=row.name,
                passed=row.passed,
                metrics=json.loads(row.metrics),
                at=utc(row.at),
                actor=row.actor,
            )
            for row in self._db.execute(query)
        )

    def put_evaluation(self, version_id: int, evaluation: Evaluation) -> None:
        """Replaces an earlier evaluation of that name."""
        values = evaluation.model_dump() | {"metrics": json.dumps(evaluation.metrics)}
        which = evaluations.c.version_id == version_id, evaluations.c.name == evaluation.name
        if self._db.execute(evaluations.update().where(*which).values(values)).rowcount == 0:
            self._db.execute(evaluations.insert().values(version_id=version_id, **values))

    def passed(self, version_id: int, evaluation: str) -> bool:
        which = evaluations.c.version_id == version_id, evaluations.c.name == evaluation
        return bool(self._db.execute(sa.select(evaluations.c.passed).where(*which)).scalar())

    def nodes(self, by: Literal["digest", "parent"], digests: Iterable[str], tenant: str | None) -> list[LineageNode]:
        """Versions whose digest or parent is one of ``digests``, as far as ``tenant`` may see them.

        None sees all; a tenant sees its own, and live ones that are shared with it.
        """
        query = (
            sa.select(versions, adapters.c.name, tenants.c.name.label("tenant"))
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .order_by(versions.c.id)
        )
        if tenant is not None:
            live_or_owned = sa.or_(tenants.c.name == tenant, versions.c.deleted_at.is_(None))
            query = query.where(visible(tenant), live_or_owned)
        column = versions.c[by]
        rows = [row for part in parts(sorted(digests)) for row in self._db.execute(query.where(column.in_(part)))]
        pointers = self._pointers([row.id for row in rows])
        return [_node(row, tuple(pointers.get(row.id, ()))) for row in rows]

    def candidates(self) -> list[Candidate]:
        """All live versions of tenants with a retention policy, by adapter and number."""
        query = (
            sa.select(
                versions.c.id,
                adapters.c.tenant_id,
                versions.c.adapter_id,
                tenants.c.name.label("tenant"),
                adapters.c.name,
                versions.c.number,
                versions.c.digest,
                versions.c.parent,
                versions.c.created_at,
            )
            .join(adapters, versions.c.adapter_id == adapters.c.id)
            .join(tenants, adapters.c.tenant_id == tenants.c.id)
            .where(
                versions.c.deleted_at.is_(None),
                sa.or_(tenants.c.keep_versions.is_not(None), tenants.c.keep_days.is_not(None)),
            )
            .order_by(versions.c.adapter_id, versions.c.number)
        )
        return [Candidate(*row)._replace(created_at=utc(row.created_at)) for row in self._db.execute(query)]

    def _pointers(self, version_ids: Sequence[int]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for part in parts(version_ids):
            query = sa.select(aliases.c.version_id, aliases.c.alias).where(aliases.c.version_id.in_(part))
            for row in self._db.execute(query.order_by(aliases.c.alias)):
                found.setdefault(row.version_id, []).append(row.alias)
        return found

    def _rows(self, *which: sa.ColumnElement[bool]) -> list[VersionRow]:
        query = sa.select(versions.c.id, versions.c.deleted_at, *RECORD).where(*which).order_by(versions.c.number)
        found = self._db.execute(query)
        return [VersionRow(row.id, version_record(row), row.deleted_at is not None) for row in found]


def parent_of(lineage: Mapping[str, JsonValue]) -> str | None:
    """The digest that a push named as its version's parent."""
    parent = lineage.get("parent")
    return parent if isinstance(parent, str) and is_digest(parent) else None


def _node(row: Any, pointers: tuple[str, ...]) -> LineageNode:
    lineage = json.loads(row.lineage)
    return LineageNode(
        tenant=row.tenant,
        name=row.name,
        number=row.number,
        digest=row.digest,
        parent=row.parent,
        data_digest=_text(lineage.get("data_digest")),
        created_at=utc(row.created_at),
        aliases=pointers,
        metrics=_numbers(lineage.get("metrics")),
        deleted=row.deleted_at is not None,
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _numbers(value: JsonValue) -> dict[str, float]:
    """The numeric ones of the metrics of a push."""
    if not isinstance(value, dict):
        return {}
    numbers = {
        key: metric
        for key, metric in value.items()
        if isinstance(metric, int | float) and not isinstance(metric, bool)
    }
    return {key: float(metric) for key, metric in numbers.items() if abs(metric) <= sys.float_info.max}
