"""The registry's verbs: they join bytes and rows, blobs first, row last. Blocking and thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import JsonValue

from adapters_registry.blobs import BlobStore
from adapters_registry.errors import (
    AdapterNotFound,
    AliasInUse,
    AliasNotFound,
    BaseNotFound,
    BlobMissing,
    GenerationMismatch,
    GenerationRequired,
    InvalidValue,
    NoPreviousVersion,
    VersionDeleted,
    VersionNotFound,
)
from adapters_registry.history import MoveKind, previous
from adapters_registry.kinds import ArtifactFile, build_manifest, check_files
from adapters_registry.manifest import BaseManifest, File
from adapters_registry.metadata import AliasRow, Change, Metadata, Rows, VersionRow
from adapters_registry.names import PRODUCTION, check_alias
from adapters_registry.records import (
    AdapterPage,
    AdapterRecord,
    AliasRecord,
    BaseRecord,
    Changes,
    Published,
    Snapshot,
    VersionDetail,
)
from adapters_registry.settings import Limits


@dataclass(frozen=True, slots=True)
class Origin:
    """What a push says besides the files."""

    base: str | None = None
    """Digest or name; None is the base last announced."""
    promote: bool = False
    lineage: Mapping[str, JsonValue] = field(default_factory=dict)


class Registry:
    """What exists, and which version is live."""

    def __init__(
        self, metadata: Metadata, blobs: BlobStore, limits: Limits, committed: Callable[[], None] = lambda: None
    ) -> None:
        self._metadata = metadata
        self._limits = limits
        self._committed = committed
        """Called after every commit, on the thread that made it."""
        self.blobs = blobs

    # Bases

    def put_base(self, manifest: BaseManifest) -> None:
        """Announce ``manifest``: from now on pushes without a base are checked against it."""
        with self._metadata.reading() as rows:
            if rows.base(None) == manifest:
                return
        with self._changing() as rows:
            rows.put_base(manifest, rows.record(Change("base.put", manifest.digest)))

    def base(self, digest: str) -> BaseManifest:
        with self._metadata.reading() as rows:
            return _base(rows, digest)

    def bases(self) -> tuple[BaseRecord, ...]:
        with self._metadata.reading() as rows:
            return rows.bases()

    # Versions

    def publish(self, tenant: str, name: str, files: Sequence[File], origin: Origin) -> Published:
        """Check the uploaded ``files`` and make them a version; the same again gives the version there is."""
        check_files(files, self._limits)
        with self._metadata.reading() as rows:
            base = _base(rows, origin.base)
        manifest = build_manifest(base, [self._stored(file) for file in files], self._limits)
        with self._changing() as rows:
            adapter = rows.adapter(tenant, name)
            if adapter is None:
                adapter_id = rows.add_adapter(tenant, name)
            else:
                adapter_id = adapter.id
                if adapter.deleted:
                    rows.revive_adapter(adapter_id)
            live = rows.live_versions(adapter_id)
            version = next((row for row in live.values() if row.record.digest == manifest.digest), None)
            created = version is None
            if version is None:
                version = rows.add_version(adapter_id, manifest, origin.lineage)
                subject = f"{tenant}/{name}@{version.record.number}"
                rows.record(Change("version.publish", subject, adapter_id, version_id=version.id))
            if origin.promote or not live:
                pointer = rows.alias(adapter_id, PRODUCTION)
                _point(rows, _Pointer(tenant, name, adapter_id, PRODUCTION), pointer, version.id, MoveKind.SET)
            (record,) = rows.records([adapter_id])
        return Published(tenant=tenant, name=name, record=version.record, aliases=record.aliases, created=created)

    def version(self, digest: str) -> VersionDetail:
        with self._metadata.reading() as rows:
            found = rows.detail(digest)
        if found is None:
            raise VersionNotFound(f"No version {digest}.", param="digest")
        detail, deleted = found
        if deleted:
            raise VersionDeleted(f"Version {digest} was deleted.", param="digest")
        return detail

    def delete_version(self, tenant: str, name: str, number: int) -> None:
        """Refused while an alias points at it; its number is never used again."""
        with self._changing() as rows:
            adapter_id = _adapter(rows, tenant, name)
            version = _live(rows, tenant, name, adapter_id, number)
            pointing = rows.aliases_at(version.id)
            if pointing:
                raise AliasInUse(
                    f"Version {number} of {tenant}/{name} is what alias {', '.join(map(repr, pointing))} points at: "
                    "move or delete the alias first.",
                    param="version",
                )
            rows.delete_version(version.id)
            subject = f"{tenant}/{name}@{number}"
            rows.record(Change("version.delete", subject, adapter_id, version_id=version.id))

    # Adapters

    def adapter(self, tenant: str, name: str) -> AdapterRecord:
        with self._metadata.reading() as rows:
            (record,) = rows.records([_adapter(rows, tenant, name)])
        return record

    def page(self, tenant: str | None = None, after: str | None = None, limit: int | None = None) -> AdapterPage:
        """One page; ``after`` is the ``next`` of the page before."""
        size = min(limit or self._limits.page, self._limits.page)
        start_tenant, _, start_name = (after or "").partition("/")
        with self._metadata.reading() as rows:
            ids = rows.page(tenant, (start_tenant, start_name), size + 1)
            records = rows.records(ids[:size])
        more = len(ids) > size
        return AdapterPage(adapters=records, next=f"{records[-1].tenant}/{records[-1].name}" if more else None)

    def delete_adapter(self, tenant: str, name: str) -> None:
        """With its versions and aliases."""
        with self._changing() as rows:
            adapter_id = _adapter(rows, tenant, name)
            (record,) = rows.records([adapter_id])
            rows.delete_adapter(adapter_id)
            subject = f"{tenant}/{name}"
            for alias in record.aliases:
                rows.record(Change(MoveKind.DELETE, subject, adapter_id, alias.alias))
            rows.record(Change("adapter.delete", subject, adapter_id))

    # Aliases

    def resolve(self, tenant: str, name: str, alias: str = PRODUCTION) -> AliasRecord:
        record = self.adapter(tenant, name)
        found = next((a for a in record.aliases if a.alias == alias), None)
        if found is None:
            raise _no_alias(tenant, name, alias)
        return found

    def move_alias(
        self, tenant: str, name: str, alias: str, version: int | str, generation: int | None
    ) -> AliasRecord:
        """Point ``alias`` at a version (number or digest) if it is still of ``generation``; 0: if it is absent.

        None creates it; an existing alias then is a ``GenerationRequired``.
        """
        check_alias(alias)
        with self._changing() as rows:
            at = _Pointer(tenant, name, _adapter(rows, tenant, name), alias)
            target = _live(rows, tenant, name, at.adapter_id, version)
            pointer = rows.alias(at.adapter_id, alias)
            _check_generation(pointer, alias, generation)
            _point(rows, at, pointer, target.id, MoveKind.SET)
            return _alias_record(rows, at)

    def rollback(self, tenant: str, name: str, alias: str = PRODUCTION, generation: int | None = None) -> AliasRecord:
        """Point ``alias`` at the version it pointed at before; again goes one further back."""
        with self._changing() as rows:
            at = _Pointer(tenant, name, _adapter(rows, tenant, name), alias)
            pointer = rows.alias(at.adapter_id, alias)
            if pointer is None or pointer.version_id is None:
                raise _no_alias(tenant, name, alias)
            if generation is not None:
                _check_generation(pointer, alias, generation)
            live = frozenset(rows.live_versions(at.adapter_id))
            target = previous(rows.moves(at.adapter_id, alias), live)
            if target is None:
                raise NoPreviousVersion(
                    f"Alias {alias!r} of {tenant}/{name} has no earlier version to go back to: "
                    "promote one by its number.",
                    param="alias",
                )
            _point(rows, at, pointer, target, MoveKind.ROLLBACK)
            return _alias_record(rows, at)

    def delete_alias(self, tenant: str, name: str, alias: str, generation: int | None = None) -> None:
        with self._changing() as rows:
            at = _Pointer(tenant, name, _adapter(rows, tenant, name), alias)
            pointer = rows.alias(at.adapter_id, alias)
            if pointer is None or pointer.version_id is None:
                raise _no_alias(tenant, name, alias)
            if generation is not None:
                _check_generation(pointer, alias, generation)
            _point(rows, at, pointer, None, MoveKind.DELETE)

    # What gateways follow

    def snapshot(self) -> Snapshot:
        with self._metadata.reading() as rows:
            return Snapshot(seq=rows.seq(), adapters=rows.records())

    def changes(self, since: int) -> Changes:
        """What changed after ``since`` (0: since ever), at once."""
        with self._metadata.reading() as rows:
            seq = rows.seq()
            if since != 0 and not rows.first_seq() <= since <= seq:
                return Changes(seq=seq, adapters=(), reset=True)
            return Changes(seq=seq, adapters=rows.records(rows.touched(since)))

    def ping(self) -> None:
        """Raises if the database does not answer."""
        with self._metadata.reading() as rows:
            rows.seq()

    @contextmanager
    def _changing(self) -> Iterator[Rows]:
        with self._metadata.writing() as rows:
            yield rows
        self._committed()

    def _stored(self, file: File) -> ArtifactFile:
        size = self.blobs.size(file.digest)
        if size is None:
            raise BlobMissing(
                f"{file.path} ({file.digest}) was not uploaded: PUT /v1/uploads/{file.digest} first.", param=file.path
            )
        if size != file.size:
            raise InvalidValue(f"{file.path} has {size} bytes, not {file.size}.", param="size")
        self.blobs.settle(file.digest)
        return ArtifactFile(file, lambda: self.blobs.open(file.digest))


class _Pointer(NamedTuple):
    tenant: str
    name: str
    adapter_id: int
    alias: str


def _point(rows: Rows, at: _Pointer, pointer: AliasRow | None, version_id: int | None, kind: MoveKind) -> None:
    """Move, delete or create the alias with its audit row; nothing if it is there already."""
    if pointer is not None and pointer.version_id == version_id:
        return
    if pointer is None:
        assert version_id is not None
        rows.add_alias(at.adapter_id, at.alias, version_id)
    elif not rows.point_alias(at.adapter_id, at.alias, version_id, pointer.generation):
        raise GenerationMismatch(f"Alias {at.alias!r} moved meanwhile: read it and try again.", param="If-Match")
    rows.record(Change(kind, f"{at.tenant}/{at.name}", at.adapter_id, at.alias, version_id))


def _check_generation(pointer: AliasRow | None, alias: str, generation: int | None) -> None:
    present = 0 if pointer is None or pointer.version_id is None else pointer.generation
    if generation is None and present:
        raise GenerationRequired(
            f"Alias {alias!r} exists: send its generation in If-Match (it is {present} now).", param="If-Match"
        )
    if generation is not None and generation != present:
        raise GenerationMismatch(
            f"Alias {alias!r} is of generation {present}, not {generation}: it moved since you looked. "
            "Read it and try again.",
            param="If-Match",
        )


def _adapter(rows: Rows, tenant: str, name: str) -> int:
    row = rows.adapter(tenant, name)
    if row is None or row.deleted:
        raise AdapterNotFound(f"No adapter {tenant}/{name}.", param="name")
    return row.id


def _live(rows: Rows, tenant: str, name: str, adapter_id: int, version: int | str) -> VersionRow:
    if isinstance(version, int):
        found = rows.version(adapter_id, number=version)
    else:
        found = rows.version(adapter_id, digest=version)
    if found is None:
        raise VersionNotFound(f"{tenant}/{name} has no version {version}.", param="version")
    if found.deleted:
        raise VersionDeleted(f"Version {version} of {tenant}/{name} was deleted.", param="version")
    return found


def _alias_record(rows: Rows, at: _Pointer) -> AliasRecord:
    (record,) = rows.records([at.adapter_id])
    return next(alias for alias in record.aliases if alias.alias == at.alias)


def _no_alias(tenant: str, name: str, alias: str) -> AliasNotFound:
    return AliasNotFound(f"{tenant}/{name} has no alias {alias!r}.", param="alias")


def _base(rows: Rows, reference: str | None) -> BaseManifest:
    base = rows.base(reference)
    if base is None and reference is None:
        raise BaseNotFound(
            "No base was announced yet: start the service on this registry first, then push.", param="base"
        )
    if base is None:
        raise BaseNotFound(
            f"No base {reference!r} was announced: see GET /v1/bases, or start the service with it.", param="base"
        )
    return base
