"""What the registry answers with: adapters, versions, aliases and changes, as frozen wire values."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from adapters_registry.manifest import Digest, Manifest, Name


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VersionRecord(_Record):
    """One immutable version, without its module list."""

    number: int
    digest: Digest
    base: Digest
    kind: str
    rank: int
    size_bytes: int
    created_at: datetime


class AliasRecord(_Record):
    """The only mutable pointer. ``generation`` grows by one at every move; it is the ETag."""

    alias: Name
    version: int
    digest: Digest
    generation: int


class AdapterRecord(_Record):
    """One adapter with its live (not deleted) versions, oldest first, and its aliases."""

    tenant: Name
    name: Name
    created_at: datetime
    versions: tuple[VersionRecord, ...]
    aliases: tuple[AliasRecord, ...]


class VersionDetail(_Record):
    """A version with its manifest and where it stands."""

    tenant: Name
    name: Name
    record: VersionRecord
    manifest: Manifest


class Snapshot(_Record):
    """Everything a gateway needs to resolve names, as of change ``seq``."""

    seq: int
    adapters: tuple[AdapterRecord, ...]


class Changes(_Record):
    """What changed after ``since``: the present state of each adapter touched."""

    seq: int
    """Pass it as the next ``since``."""
    adapters: tuple[AdapterRecord, ...]
    """An adapter that was deleted comes with no versions and no aliases."""
    reset: bool = False
    """True: ``since`` is not of this registry's history; take a new snapshot."""
