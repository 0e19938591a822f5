"""Versions: published, evaluated, deleted, and their lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import JsonValue

from adapters_registry.access import ANONYMOUS, Principal, Scope
from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.announcing import missing, read_format_1_only
from adapters_registry.capabilities import in_words, needs, remedies
from adapters_registry.choosing import Bases, OtherBase, first_guess, requested_base
from adapters_registry.errors import (
    AliasInUse,
    BlobMissing,
    InvalidValue,
    NotRunnable,
    VersionDeleted,
    VersionNotFound,
)
from adapters_registry.findings import Inspection
from adapters_registry.history import MoveKind
from adapters_registry.kinds import ArtifactFile, check_files
from adapters_registry.lineage import graph
from adapters_registry.manifest import BaseManifest, File, Manifest
from adapters_registry.names import PRODUCTION
from adapters_registry.pointing import Pointer, point
from adapters_registry.quota import check_versions, versions_bound
from adapters_registry.records import Evaluation, Lineage, Published, VersionDetail
from adapters_registry.rows import Change, Rows, VersionRow
from adapters_registry.rows.values import now
from adapters_registry.verbs.base import Verbs, adapter_id, live_version
from adapters_registry.verbs.bases import base_of
from adapters_registry.verbs.naming import check_name


@dataclass(frozen=True, slots=True)
class Origin:
    """What a push states in addition to the files."""

    base: str | None = None
    """Digest or name; None is the base that the config names, or the only one."""
    promote: bool = False
    lineage: Mapping[str, JsonValue] = field(default_factory=dict)
    allowed: Allowances = NOTHING


class VersionVerbs(Verbs):
    """Verbs of versions, which services load."""

    def publish(
        self, tenant: str, name: str, files: Sequence[File], origin: Origin, by: Principal = ANONYMOUS
    ) -> Published:
        """Check the uploaded ``files`` and make them a version; the same files again return the existing version."""
        check_files(files, self._limits)
        with self.metadata.reading() as rows:
            known = rows.bases.known()
            requested = None if origin.base is None else requested_base(origin.base, known).digest
            base = base_of(rows, requested or first_guess(known).digest)
            check_name(rows, tenant, name)
            _check_held(rows, rows.tenant_id(tenant), files)
        found = self._inspect(
            base, [self._stored(file) for file in files], origin.allowed, Bases(known=known, requested=requested)
        )
        with self._changing() as rows:
            return self._commit(rows, tenant, name, found, origin, by)

    def version(self, digest: str, tenant: str | None = None) -> VersionDetail:
        """The tenant's own version, or one shared with it; None sees all. Only the owner sees a deleted one."""
        with self.metadata.reading() as rows:
            found = rows.versions.detail(digest, tenant)
        if found is None:
            raise VersionNotFound(f"No version {digest}.", param="digest")
        detail, deleted = found
        if deleted:
            raise VersionDeleted(f"Version {digest} was deleted.", param="digest")
        return detail

    def delete_version(self, tenant: str, name: str, number: int, by: Principal = ANONYMOUS) -> None:
        """Refused while an alias points at it; its number is never used again."""
        with self._changing() as rows:
            adapter = adapter_id(rows, tenant, name)
            version = live_version(rows, tenant, name, adapter, number)
            pointing = rows.aliases.at(version.id)
            if pointing:
                raise AliasInUse(
                    f"Version {number} of {tenant}/{name} is what alias {', '.join(map(repr, pointing))} points at: "
                    "move or delete the alias first.",
                    param="version",
                )
            rows.versions.delete(version.id)
            _record(rows, "version.delete", Pointer(tenant, name, adapter, ""), version, by)

    def evaluate(
        self,
        tenant: str,
        name: str,
        version: int | str,
        evaluation: str,
        passed: bool,
        metrics: Mapping[str, float],
        by: Principal = ANONYMOUS,
    ) -> Evaluation:
        """Record the result of an evaluation of a version, in place of its earlier result."""
        for metric, value in metrics.items():
            if not math.isfinite(value):
                raise InvalidValue(f"metrics.{metric} is {value}: send a number.", param="metrics")
        found = Evaluation(name=evaluation, passed=passed, metrics=dict(metrics), at=datetime.now(UTC), actor=by.id)
        with self._changing() as rows:
            adapter = adapter_id(rows, tenant, name)
            row = live_version(rows, tenant, name, adapter, version)
            rows.versions.put_evaluation(row.id, found)
            detail: dict[str, JsonValue] = {"evaluation": evaluation, "passed": passed}
            _record(rows, "version.evaluate", Pointer(tenant, name, adapter, ""), row, by, detail)
        return found

    def lineage(self, digest: str, tenant: str | None = None) -> Lineage:
        """The version's parents and children, as far as ``tenant`` may see them."""
        with self.metadata.reading() as rows:
            found = graph(rows, digest, tenant)
        if not found.nodes:
            raise VersionNotFound(f"No version {digest}.", param="digest")
        return found

    def _commit(
        self, rows: Rows, tenant: str, name: str, found: Inspection, origin: Origin, by: Principal
    ) -> Published:
        tenant_id = rows.tenants.make(tenant)
        shadowed = check_name(rows, tenant, name)
        _check_held(rows, tenant_id, found.manifest.files)
        at = Pointer(tenant, name, _adapter(rows, tenant_id, tenant, name), PRODUCTION)
        live = rows.versions.live(at.adapter_id)
        manifest, version = _form(rows, at.adapter_id, found.manifest)
        created = version is None
        if version is None:
            _check_runnable(rows, manifest)
            bound = versions_bound(rows.tenants.bounds(tenant_id), self._limits)
            if bound is not None:
                check_versions(tenant, bound, rows.tenants.used_versions(tenant_id))
            added = found.model_copy(update={"manifest": manifest})
            version = rows.versions.add(at.adapter_id, added, origin.lineage)
            rows.blobs.end_leases(tenant_id, [file.digest for file in manifest.files])
            _record(rows, "version.publish", at, version, by)
        if origin.promote or (not live and _goes_live(rows, at, by)):
            point(rows, at, version.id, MoveKind.SET, by)
        aliases = rows.adapters.record(at.adapter_id).aliases
        return Published(
            tenant=tenant,
            name=name,
            record=version.record,
            aliases=aliases,
            created=created,
            notes=(*found.notes, *shadowed),
        )

    def _inspect(
        self, base: BaseManifest, files: Sequence[ArtifactFile], allowed: Allowances, bases: Bases
    ) -> Inspection:
        """Against ``base``, or against another of ``bases`` that the config names."""
        try:
            return self._check(base, files, self._limits, allowed, bases)
        except OtherBase as other:
            with self.metadata.reading() as rows:
                base = base_of(rows, other.digest)
        return self._check(base, files, self._limits, allowed, bases)

    def _stored(self, file: File) -> ArtifactFile:
        size = self.blobs.size(file.digest)
        if size is None:
            raise _missing(file)
        if size != file.size:
            raise InvalidValue(f"{file.path} has {size} bytes, not {file.size}.", param="size")
        self.blobs.settle(file.digest)
        return ArtifactFile(file, lambda: self.blobs.open(file.digest))


def _check_held(rows: Rows, tenant_id: int | None, files: Sequence[File]) -> None:
    """Only bytes that the tenant itself uploaded can be published: knowing the digest of another tenant's file proves
    nothing.

    Checked twice. First before the bytes are read: bytes held then are not deleted meanwhile. Then in the transaction
    that creates the version, which holds them from then on.
    """
    for file in files:
        if tenant_id is None or not rows.blobs.held(tenant_id, file.digest):
            raise _missing(file)


def _missing(file: File) -> BlobMissing:
    return BlobMissing(
        f"{file.path} ({file.digest}) was not uploaded: PUT /v1/uploads/{file.digest} first.", param=file.path
    )


def _form(rows: Rows, adapter_id: int, manifest: Manifest) -> tuple[Manifest, VersionRow | None]:
    """The form in which ``manifest`` is or becomes a version of the adapter, and the live version if there is one.

    The same files are one version in all releases: a form that the adapter has or had is used again. Otherwise the
    form is this release's, or format 1 while a service of the base reads only that.
    """
    earlier = manifest.in_format_1()
    forms = [manifest] if earlier is None else [manifest, earlier]
    known = [(form, row) for form in forms if (row := rows.versions.get(adapter_id, form.digest)) is not None]
    if known:
        form, row = min(known, key=lambda each: each[1].deleted)
        return form, None if row.deleted else row
    old = read_format_1_only(rows.bases.announcements(manifest.base), now())
    return (forms[-1] if old else manifest), None


def _check_runnable(rows: Rows, manifest: Manifest) -> None:
    """``NotRunnable`` if no service of the base can run it."""
    lacking = missing(needs(manifest), rows.bases.announcements(manifest.base), now())
    if lacking:
        name = base_of(rows, manifest.base).name
        remedy = remedies(lacking)
        raise NotRunnable(
            f"No service of {name} can run {in_words(lacking)}: {remedy + ', or ' if remedy else ''}start a "
            f"service of {name} that can, with another backend or of a newer release.",
            param=min(lacking),
        )


def _adapter(rows: Rows, tenant_id: int, tenant: str, name: str) -> int:
    """Id of its row, which is created or restored if necessary."""
    row = rows.adapters.get(tenant, name)
    if row is None:
        return rows.adapters.add(tenant_id, name)
    if row.deleted:
        rows.adapters.revive(row.id)
    return row.id


def _goes_live(rows: Rows, at: Pointer, by: Principal) -> bool:
    """The first version gets the alias by itself, unless the alias was protected and then removed."""
    present = rows.aliases.get(at.adapter_id, at.alias)
    return present is None or not present.protected or (by.may(Scope.ALIAS_WRITE) and present.requires is None)


def _record(
    rows: Rows,
    action: str,
    at: Pointer,
    version: VersionRow,
    by: Principal,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    recorded = {"digest": version.record.digest} | dict(detail or {})
    subject = f"{at}@{version.record.number}"
    rows.record(Change(action, subject, at.adapter_id, version_id=version.id, detail=recorded), actor=by.id)
