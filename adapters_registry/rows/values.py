"""Values that queries take and return, except the wire records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from pydantic import JsonValue

from adapters_registry.records import VersionRecord
from adapters_registry.tables import utc, versions

PER_QUERY = 500
"""Bound on parameters per query: databases limit the parameters of a statement."""
T = TypeVar("T")


class AdapterRow(NamedTuple):
    """An adapter, deleted or not."""

    id: int
    tenant_id: int
    deleted: bool


class VersionRow(NamedTuple):
    """A version, deleted or not."""

    id: int
    record: VersionRecord
    deleted: bool


class Candidate(NamedTuple):
    """A live version, with what retention needs to know."""

    id: int
    tenant_id: int
    adapter_id: int
    tenant: str
    name: str
    number: int
    digest: str
    parent: str | None
    """The digest of the version that it was trained from."""
    created_at: datetime


class AliasRow(NamedTuple):
    """An alias; ``version_id`` is None once it was deleted."""

    version_id: int | None
    generation: int
    protected: bool
    requires: str | None


class BlobRow(NamedTuple):
    """A row of a blob."""

    size: int
    """Bytes."""
    condemned_at: datetime | None
    """Since when the collector deletes its bytes; from then on it must not be used."""


class Change(NamedTuple):
    """The audit log's fields of one change."""

    action: str
    subject: str
    adapter_id: int | None = None
    alias: str | None = None
    version_id: int | None = None
    detail: Mapping[str, JsonValue] | None = None


RECORD = tuple(versions.c[name] for name in ("number", "digest", "base", "kind", "rank", "size_bytes", "created_at"))
"""The columns that ``version_record`` reads: without the manifest, which is long."""


def version_record(row: Any) -> VersionRecord:
    return VersionRecord(
        number=row.number,
        digest=row.digest,
        base=row.base,
        kind=row.kind,
        rank=row.rank,
        size_bytes=row.size_bytes,
        created_at=utc(row.created_at),
    )


def now() -> datetime:
    return datetime.now(UTC)


def parts(values: Sequence[T], size: int = PER_QUERY) -> Iterator[Sequence[T]]:
    """``values`` in portions, by default of the size that one statement may have."""
    return (values[start : start + size] for start in range(0, len(values), size))


def inserted_id(result: sa.CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
