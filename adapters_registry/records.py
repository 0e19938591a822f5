"""What the registry answers with: adapters, versions, aliases and changes, as frozen wire values."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue

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
    lineage: dict[str, JsonValue] = {}
    """What it was made from, as told at the push."""


class Published(_Record):
    """The answer to a commit."""

    tenant: Name
    name: Name
    record: VersionRecord
    aliases: tuple[AliasRecord, ...]
    """All of the adapter's, as they stand after the commit."""
    created: bool
    """False: the adapter had this very version already."""


class BaseRecord(_Record):
    """A base that the service announced."""

    digest: Digest
    name: str
    architecture: str
    dtype: str
    latest: bool
    """The one that a push without a base is checked against."""


class AdapterPage(_Record):
    """One page of a list, by tenant and name."""

    adapters: tuple[AdapterRecord, ...]
    next: str | None
    """Pass it as ``after``; None at the end."""


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
