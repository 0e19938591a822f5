"""The catalog's adapters by name: look-up, and lists in order of names."""

from __future__ import annotations

import heapq
import logging
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, KeysView, ValuesView
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from adapters_registry.access import Principal
from adapters_registry.records import ALL_TENANTS, AdapterRecord, AliasRecord, VersionRecord
from service.access.names import Alias, Exact, Version
from service.values import AdapterRef

log = logging.getLogger(__name__)

Name = tuple[str, str]
"""Tenant and adapter."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One adapter version that a request may name."""

    ref: AdapterRef
    created_s: int
    """Unix time of the version."""
    size_bytes: int
    """Size of its files."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter, with its versions indexed."""

    record: AdapterRecord
    by_number: dict[int, VersionRecord] = field(init=False)
    by_digest: dict[str, VersionRecord] = field(init=False)
    aliases: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        versions = self.record.versions
        object.__setattr__(self, "by_number", {version.number: version for version in versions})
        object.__setattr__(self, "by_digest", {version.digest: version for version in versions})
        object.__setattr__(self, "aliases", {a.alias: a.version for a in self.record.aliases})

    @property
    def name(self) -> Name:
        return self.record.tenant, self.record.name

    def version(self, selector: Version | Exact | Alias) -> VersionRecord | None:
        match selector:
            case Version(number):
                return self.by_number.get(number)
            case Exact(digest):
                return self.by_digest.get(digest)
            case Alias(alias):
                return self.by_number.get(self.aliases.get(alias, 0))

    def open_to(self, principal: Principal) -> bool:
        """Whether the principal owns it, or it is shared with the principal."""
        shared = self.record.shared_with
        return principal.acts_for(self.record.tenant) or principal.tenant in shared or ALL_TENANTS in shared

    def listed(self, version: VersionRecord) -> Listed:
        ref = AdapterRef(self.record.tenant, self.record.name, version.number, version.digest)
        return Listed(ref, int(version.created_at.timestamp()), version.size_bytes)


NOTHING = Entry(
    AdapterRecord.model_construct(
        tenant="", name="", created_at=datetime.min, versions=(), aliases=(), shared_with=()
    )
)
"""Entry for unknown names, so that they take the same code path as other tenants' adapters."""


class Directory:
    """A change costs at most shifting a list; a page costs its entries and the shared adapters of other tenants."""

    def __init__(self, records: Iterable[AdapterRecord] = ()) -> None:
        entries = [Entry(record) for record in records]
        self._entries = {entry.name: entry for entry in entries}
        self._order = sorted(self._entries)
        self._shared = sorted(entry.name for entry in entries if entry.record.shared_with)

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> KeysView[Name]:
        return self._entries.keys()

    def values(self) -> ValuesView[Entry]:
        return self._entries.values()

    def get(self, name: Name) -> Entry | None:
        return self._entries.get(name)

    def find(self, name: Name) -> Entry:
        """The adapter's entry; ``NOTHING`` if there is none."""
        return self._entries.get(name, NOTHING)

    def put(self, record: AdapterRecord) -> None:
        entry = Entry(record)
        self._entries[entry.name] = entry
        _keep(self._order, entry.name, wanted=True)
        _keep(self._shared, entry.name, wanted=bool(record.shared_with))

    def drop(self, name: Name) -> None:
        """Remove the entry, if it exists."""
        self._entries.pop(name, None)
        _keep(self._order, name, wanted=False)
        _keep(self._shared, name, wanted=False)

    def merge(self, records: Iterable[AdapterRecord]) -> tuple[AdapterRecord, ...]:
        """Apply changed records (one without versions was deleted); returns the resulting records."""
        return tuple(map(self._merged, records))

    def _merged(self, record: AdapterRecord) -> AdapterRecord:
        name = (record.tenant, record.name)
        if not record.versions:
            self.drop(name)
            return record
        old = self.get(name)
        kept = record if old is None else not_back(old.record, record)
        if kept is not record:
            log.warning("refused an alias older than the one served", extra={"adapter": "/".join(name)})
        self.put(kept)
        return kept

    def open_to(self, principal: Principal, after: Name | None = None) -> Iterator[Entry]:
        """Entries that the principal may use, by name, after ``after``. Do not change the directory meanwhile."""
        for name in self._candidates(principal.tenant, after):
            entry = self._entries[name]
            if entry.open_to(principal):
                yield entry

    def _candidates(self, tenant: str | None, after: Name | None) -> Iterable[Name]:
        if tenant is None:
            return _from(self._order, after, None)
        own = _from(self._order, max(after or ("", ""), (tenant, "")), (tenant + "\0", ""))
        theirs = (name for name in _from(self._shared, after, None) if name[0] != tenant)
        return heapq.merge(own, theirs)


def _from(order: list[Name], after: Name | None, end: Name | None) -> Iterator[Name]:
    first = 0 if after is None else bisect_right(order, after)
    return islice(order, first, None if end is None else max(first, bisect_left(order, end)))


def _keep(order: list[Name], name: Name, *, wanted: bool) -> None:
    at = bisect_left(order, name)
    there = at < len(order) and order[at] == name
    if wanted and not there:
        insort(order, name)
    elif there and not wanted:
        del order[at]


def not_back(old: AdapterRecord, new: AdapterRecord) -> AdapterRecord:
    """``new``, except for aliases that are older than those of ``old``.

    An adapter that was deleted and created again has new generations; it is recognised by ``created_at``.
    """
    if new.created_at != old.created_at:
        return new
    seen = {alias.alias: alias for alias in old.aliases}
    there = {version.number for version in new.versions}

    def newest(alias: AliasRecord) -> AliasRecord:
        known = seen.get(alias.alias, alias)
        return known if known.generation > alias.generation and known.version in there else alias

    aliases = tuple(map(newest, new.aliases))
    return new if aliases == new.aliases else new.model_copy(update={"aliases": aliases})
