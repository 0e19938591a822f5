"""Collection: retires versions by retention, then deletes bytes that nothing holds."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters_registry import collect
from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.history import previous
from adapters_registry.records import Collected
from adapters_registry.retention import retire
from adapters_registry.rows import Candidate, Change, Rows
from adapters_registry.verbs.base import Verbs


class CollectionVerbs(Verbs):
    """Verbs that free space."""

    def collect(self, dry_run: bool = False, grace_s: float | None = None, by: Principal = ANONYMOUS) -> Collected:
        """Retire and delete; ``dry_run`` only reports what would be deleted."""
        seconds = self._limits.grace_s if grace_s is None else grace_s
        with self.metadata.trying() if dry_run else self._changing() as rows:
            retired = _retire(rows, by)
            times = collect.grace(seconds)
            swept = collect.Swept.of(rows.blobs.unheld(times))
            leased = rows.blobs.leased_only(times)
        if dry_run:
            swept += collect.unknown(self.metadata, self.blobs, seconds)
        else:
            swept = collect.sweep(self.metadata, self.blobs, seconds)
            if swept.blobs:
                with self._changing() as rows:
                    detail = {"blobs": swept.blobs, "bytes": swept.bytes}
                    rows.record(Change("blobs.delete", "", detail=detail), actor=by.id)
        return Collected(
            dry_run=dry_run,
            retired=tuple(f"{version.tenant}/{version.name}@{version.number}" for version in retired),
            blobs=swept.blobs,
            bytes=swept.bytes,
            kept_by_lease=leased,
        )


def _retire(rows: Rows, by: Principal) -> list[Candidate]:
    """Delete versions that retention does not keep, each with an audit entry."""
    candidates, rules, now = rows.versions.candidates(), rows.tenants.all_bounds(), datetime.now(UTC)
    found = retire(candidates, rules, frozenset(version for _, _, version in rows.aliases.pointing()), now)
    if found:
        found = retire(candidates, rules, _pinned(rows, {candidate.adapter_id for candidate in found}), now)
    for version in found:
        rows.versions.delete(version.id)
        subject, detail = f"{version.tenant}/{version.name}@{version.number}", {"digest": version.digest}
        change = Change("version.retire", subject, version.adapter_id, version_id=version.id, detail=detail)
        rows.record(change, actor=by.id)
    return found


def _pinned(rows: Rows, adapters: set[int]) -> frozenset[int]:
    """Versions that aliases point at, and those that the aliases of ``adapters`` would roll back to."""
    pinned: set[int] = set()
    for adapter, alias, version in rows.aliases.pointing():
        pinned.add(version)
        if adapter in adapters:
            back = previous(rows.aliases.moves(adapter, alias), frozenset(rows.versions.live(adapter)))
            if back is not None:
                pinned.add(back)
    return frozenset(pinned)
