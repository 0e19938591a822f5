"""What the registry answers with: adapters, versions, aliases and changes, as frozen wire values."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from adapters_registry.access import Scope
from adapters_registry.manifest import Digest, Manifest, Name

EVERYBODY = "*"
"""Among those an adapter is shared with: all tenants."""


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
    protected: bool = False
    """Moves only with the scope ``alias:write``."""
    requires: str | None = None
    """The evaluation that a version must have passed before a protected alias moves to it."""


class AdapterRecord(_Record):
    """One adapter with its live (not deleted) versions, oldest first, and its aliases."""

    tenant: Name
    name: Name
    created_at: datetime
    versions: tuple[VersionRecord, ...]
    aliases: tuple[AliasRecord, ...]
    shared_with: tuple[str, ...] = ()
    """Other tenants that may use it, or ``*``."""


class Evaluation(_Record):
    """What an evaluation found of a version."""

    name: Name
    passed: bool
    metrics: dict[str, float] = {}
    at: datetime
    actor: str


class VersionDetail(_Record):
    """A version with its manifest and where it stands."""

    tenant: Name
    name: Name
    record: VersionRecord
    manifest: Manifest
    lineage: dict[str, JsonValue] = {}
    """What it was made from, as told at the push."""
    evaluations: tuple[Evaluation, ...] = ()


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


class Quotas(_Record):
    """What one key may use; None is without bound. Enforced by the gateways."""

    requests_per_min: int | None = Field(None, gt=0)
    tokens_per_min: int | None = Field(None, gt=0)
    concurrent: int | None = Field(None, gt=0)
    """Requests in flight."""
    resident_bytes: int | None = Field(None, gt=0)
    """Bytes of adapters that its requests keep loaded in one replica."""


class KeyRecord(_Record):
    """An API key, without its secret."""

    id: str
    tenant: Name | None
    """None acts for every tenant."""
    name: str
    """What people call it."""
    scopes: tuple[Scope, ...]
    quotas: Quotas = Quotas()
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyGrant(KeyRecord):
    """A key as serving planes hold it."""

    secret_hash: str
    """SHA-256 of the secret, in hex."""


class NewKey(_Record):
    """The answer to the making of a key: the only time that it is told."""

    record: KeyRecord
    key: str


class TenantRecord(_Record):
    """A tenant's bounds and what it uses."""

    name: Name
    created_at: datetime
    max_bytes: int | None = None
    """Bytes of its versions' files, equal ones counted once; None is the registry's default."""
    max_versions: int | None = None
    keep_versions: int | None = None
    """Retention: so many of an adapter's newest versions stay; None keeps all."""
    keep_days: int | None = None
    """Retention: a version younger than this stays; None sets no age."""
    used_bytes: int = 0
    used_versions: int = 0


class AuditEntry(_Record):
    """One change, chained to the one before: ``digest`` covers ``prev`` and every other field."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    alias: str | None = None
    detail: str | None = None
    """What changed, where the subject does not say it; JSON."""
    prev: str
    digest: str


class Snapshot(_Record):
    """Everything a gateway needs to resolve names and know keys, as of change ``seq``."""

    seq: int
    adapters: tuple[AdapterRecord, ...]
    keys: tuple[KeyGrant, ...] = ()
    """All that are not revoked; none at all means that nobody needs one."""


class Changes(_Record):
    """What changed after ``since``: the present state of each adapter touched."""

    seq: int
    """Pass it as the next ``since``."""
    adapters: tuple[AdapterRecord, ...]
    """An adapter that was deleted comes with no versions and no aliases."""
    keys: tuple[KeyGrant, ...] | None = None
    """All that are not revoked, if a key changed; None leaves them as they are."""
    reset: bool = False
    """True: ``since`` is not of this registry's history; take a new snapshot."""
