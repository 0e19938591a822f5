"""The registry's answers: adapters, versions, aliases and changes, as frozen wire values.

Readers ignore fields and scopes that a newer registry adds; request bodies are read strictly (``api/bodies.py``).

A list of values, and therefore longer than other files.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from adapters_registry.access import Principal, Scope
from adapters_registry.findings import Norms, Note
from adapters_registry.manifest import AnyManifest, Digest, Name

ALL_TENANTS = "*"
"""In ``shared_with``: the adapter is shared with all tenants."""


class _Record(BaseModel):
    """Ignores unknown fields: a reader that refused answers of a newer registry would not receive revocations."""

    model_config = ConfigDict(frozen=True, extra="ignore")


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
    """The only mutable pointer. ``generation`` increases by one at every move; it is the ETag."""

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
    """Result of an evaluation of a version."""

    name: Name
    passed: bool
    metrics: dict[str, float] = {}
    at: datetime
    actor: str


class VersionDetail(_Record):
    """A version with its manifest, aliases and evaluations."""

    tenant: Name
    name: Name
    record: VersionRecord
    manifest: AnyManifest
    lineage: dict[str, JsonValue] = {}
    """Where it came from, as given in the push."""
    norms: Norms | None = None
    """How much it changes the base; None for versions from before norms were kept."""
    notes: tuple[Note, ...] = ()
    """What the check normalised, ignored or was allowed."""
    evaluations: tuple[Evaluation, ...] = ()


class Published(_Record):
    """The answer to a commit."""

    tenant: Name
    name: Name
    record: VersionRecord
    aliases: tuple[AliasRecord, ...]
    """All of the adapter's aliases after the commit."""
    created: bool
    """False: the adapter already had this version."""
    notes: tuple[Note, ...] = ()
    """What the check normalised, ignored or was allowed."""


class BaseRecord(_Record):
    """A base that the service announced."""

    digest: Digest
    name: str
    architecture: str
    dtype: str
    latest: bool
    """Used for a push if neither it nor its config names another base; false for all if several are served."""
    served: bool = False
    """Announced by a service within the last minutes."""


class AdapterPage(_Record):
    """One page of a list, by tenant and name."""

    adapters: tuple[AdapterRecord, ...]
    next: str | None
    """Pass it as ``after``; None at the end."""


class Quotas(_Record):
    """Limits for one key, or for all keys of a tenant together; None is no limit. Enforced by the gateways."""

    requests_per_min: int | None = Field(None, gt=0)
    tokens_per_min: int | None = Field(None, gt=0)
    concurrent: int | None = Field(None, gt=0)
    """Choices in flight: prompts × n of each request."""
    resident_bytes: int | None = Field(None, gt=0)
    """Bytes of adapters that its requests keep loaded in one replica."""


_SCOPES = frozenset[str](Scope)


def known_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Without scopes of a newer release, which nothing here requires."""
    return tuple(Scope(scope) for scope in scopes if scope in _SCOPES)


class KeyRecord(_Record):
    """An API key, without its secret."""

    id: str
    tenant: Name | None
    """None acts for every tenant."""
    name: str
    """For people."""
    scopes: Annotated[tuple[Scope, ...], BeforeValidator(known_scopes)]
    quotas: Quotas = Quotas()
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyGrant(KeyRecord):
    """A key as gateways hold it."""

    secret_hash: str
    """SHA-256 of the secret, in hex."""

    @property
    def principal(self) -> Principal:
        """The caller that has the key."""
        return Principal(self.id, self.tenant, frozenset(self.scopes))


class NewKey(_Record):
    """The answer when a key is created: the only one that contains its text."""

    record: KeyRecord
    key: str


class TenantBounds(Quotas):
    """What a tenant may hold, which versions are kept, and what all its keys may use together; None sets no limit.

    Retention retires a version if none of the set rules keeps it. It never retires one that an alias points at or
    would roll back to, nor the parent of a version that is kept for one of these reasons.
    """

    max_bytes: int | None = Field(None, ge=0, lt=1 << 63)
    """Of its versions' files and recent uploads, equal ones counted once; None is the registry's default."""
    max_versions: int | None = Field(None, ge=0, lt=1 << 31)
    """Of all its adapters together; None is the registry's default."""
    keep_versions: int | None = Field(None, gt=0, lt=1 << 31)
    """How many of an adapter's newest versions are kept."""
    keep_days: int | None = Field(None, gt=0, lt=36_500)
    """Versions younger than this are kept."""


class TenantQuotas(Quotas):
    """What all keys of a tenant may use together."""

    name: Name


class TenantRecord(TenantBounds):
    """A tenant's limits and usage."""

    name: Name
    created_at: datetime
    used_bytes: int = 0
    used_versions: int = 0


class LineageNode(_Record):
    """A version in the graph of parents and children."""

    tenant: Name
    name: Name
    number: int
    digest: Digest
    parent: Digest | None
    """Of the version that it was trained from, as given in the push."""
    data_digest: str | None = None
    created_at: datetime
    aliases: tuple[Name, ...] = ()
    """Aliases that point at it."""
    metrics: dict[str, float] = {}
    deleted: bool = False


class Lineage(_Record):
    """A version, its ancestors and descendants, oldest first."""

    nodes: tuple[LineageNode, ...]
    complete: bool = True
    """False: the graph is larger than the answer."""


class AuditEntry(_Record):
    """One change, chained to the one before: ``digest`` covers ``prev`` and every other field."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    alias: str | None = None
    detail: str | None = None
    """What changed, if the subject does not say it; JSON."""
    prev: str
    digest: str


class AuditPage(_Record):
    """One page of the audit log, oldest first."""

    entries: tuple[AuditEntry, ...]
    next: int | None
    """Pass it as ``after``; None at the end."""


class AuditReport(_Record):
    """Every entry of the audit log is as it was written."""

    entries: int
    head: str
    """The last digest; a copy kept elsewhere shows later whether entries were cut off."""


class Collected(_Record):
    """What a collection did, or would do."""

    dry_run: bool
    retired: tuple[str, ...]
    """Versions that retention deleted, as tenant/name@number."""
    blobs: int
    """Number of deleted blobs, and their bytes."""
    bytes: int
    kept_by_lease: int
    """Blobs of no version that are kept because they were uploaded recently."""


class Snapshot(_Record):
    """Everything that a gateway needs to resolve names and check keys, as of change ``seq``."""

    seq: int
    adapters: tuple[AdapterRecord, ...]
    keys: tuple[KeyGrant, ...] = ()
    """All that are not revoked; if empty, no key is required."""
    head: Digest | None = None
    """The audit log's digest at ``seq``, unique to its history; None from an earlier release."""
    tenants: tuple[TenantQuotas, ...] = ()
    """Those with quotas."""


class Changes(_Record):
    """What changed after ``since``: the current state of each changed adapter."""

    seq: int
    """Pass it as the next ``since``."""
    adapters: tuple[AdapterRecord, ...]
    """A deleted adapter has no versions and no aliases here."""
    keys: tuple[KeyGrant, ...] | None = None
    """All that are not revoked, if a key changed; None if none changed."""
    reset: bool = False
    """True: ``since`` is not of this registry's history; take a new snapshot."""
    head: Digest | None = None
    """As of a snapshot: pass it with ``since``."""
    tenants: tuple[TenantQuotas, ...] | None = None
    """All that have quotas, if a tenant changed; None if none changed."""


SINCE_FULL = frozenset({"head", "tenants"})
"""Fields of ``Snapshot`` and ``Changes`` that are sent only to readers that request all fields: readers of the first
releases refuse unknown fields, and would no longer receive revocations."""
