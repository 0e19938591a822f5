"""What the registry answers with: adapters, versions, aliases and changes, as frozen wire values.

Readers ignore what a newer registry adds to them, fields and scopes; request bodies are read strictly
(``api/bodies.py``).

A list of values, and so longer than other files.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from adapters_registry.access import Principal, Scope
from adapters_registry.findings import Norms, Note
from adapters_registry.manifest import AnyManifest, Digest, Name

EVERYBODY = "*"
"""Among those an adapter is shared with: all tenants."""


class _Record(BaseModel):
    """Read tolerantly: a reader that refused what a newer registry adds would not hear of a revoked key either."""

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
    manifest: AnyManifest
    lineage: dict[str, JsonValue] = {}
    """What it was made from, as told at the push."""
    norms: Norms | None = None
    """How much it changes the base; None of a version from before norms were kept."""
    notes: tuple[Note, ...] = ()
    """What the check normalised, passed over or was allowed."""
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
    notes: tuple[Note, ...] = ()
    """What the check normalised, passed over or was allowed."""


class BaseRecord(_Record):
    """A base that the service announced."""

    digest: Digest
    name: str
    architecture: str
    dtype: str
    latest: bool
    """The one that a push is checked against if neither it nor its config names another; of several served none."""
    served: bool = False
    """Some service announced it within the last minutes."""


class AdapterPage(_Record):
    """One page of a list, by tenant and name."""

    adapters: tuple[AdapterRecord, ...]
    next: str | None
    """Pass it as ``after``; None at the end."""


class Quotas(_Record):
    """What one key, or all keys of a tenant, may use; None is without bound. Enforced by the gateways."""

    requests_per_min: int | None = Field(None, gt=0)
    tokens_per_min: int | None = Field(None, gt=0)
    concurrent: int | None = Field(None, gt=0)
    """Choices in flight: prompts × n of each request."""
    resident_bytes: int | None = Field(None, gt=0)
    """Bytes of adapters that its requests keep loaded in one replica."""


_SCOPES = frozenset[str](Scope)


def known_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Without those of a newer release: nothing here asks for them."""
    return tuple(Scope(scope) for scope in scopes if scope in _SCOPES)


class KeyRecord(_Record):
    """An API key, without its secret."""

    id: str
    tenant: Name | None
    """None acts for every tenant."""
    name: str
    """What people call it."""
    scopes: Annotated[tuple[Scope, ...], BeforeValidator(known_scopes)]
    quotas: Quotas = Quotas()
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyGrant(KeyRecord):
    """A key as serving planes hold it."""

    secret_hash: str
    """SHA-256 of the secret, in hex."""

    @property
    def principal(self) -> Principal:
        """Whoever shows the key."""
        return Principal(self.id, self.tenant, frozenset(self.scopes))


class NewKey(_Record):
    """The answer to the making of a key: the only time that it is told."""

    record: KeyRecord
    key: str


class TenantBounds(Quotas):
    """What a tenant may hold, what of it stays, and what all its keys may use together; None sets no bound.

    Retention retires a version that every rule which is set lets go. It never takes one that an alias points at or
    would go back to, nor the parent of a version that stays for one of these reasons.
    """

    max_bytes: int | None = Field(None, ge=0, lt=1 << 63)
    """Of its versions' files and fresh uploads, equal ones counted once; None is the registry's default."""
    max_versions: int | None = Field(None, ge=0, lt=1 << 31)
    """Of all its adapters together; None is the registry's default."""
    keep_versions: int | None = Field(None, gt=0, lt=1 << 31)
    """So many of an adapter's newest versions stay."""
    keep_days: int | None = Field(None, gt=0, lt=36_500)
    """A version younger than this stays."""


class TenantQuotas(Quotas):
    """What all keys of a tenant may use together."""

    name: Name


class TenantRecord(TenantBounds):
    """A tenant's bounds and what it uses."""

    name: Name
    created_at: datetime
    used_bytes: int = 0
    used_versions: int = 0


class LineageNode(_Record):
    """A version in the graph of what was trained from what."""

    tenant: Name
    name: Name
    number: int
    digest: Digest
    parent: Digest | None
    """Of the version that it was trained from, as told at the push."""
    data_digest: str | None = None
    created_at: datetime
    aliases: tuple[Name, ...] = ()
    """That point at it."""
    metrics: dict[str, float] = {}
    deleted: bool = False


class Lineage(_Record):
    """A version, what it came from and what came from it, oldest first."""

    nodes: tuple[LineageNode, ...]
    complete: bool = True
    """False: the graph is larger than what is shown."""


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


class AuditPage(_Record):
    """One page of the audit, oldest first."""

    entries: tuple[AuditEntry, ...]
    next: int | None
    """Pass it as ``after``; None at the end."""


class AuditReport(_Record):
    """The audit is what was written, entry by entry."""

    entries: int
    head: str
    """The last digest: who keeps it elsewhere can tell later that nothing was cut off."""


class Collected(_Record):
    """What a collection did, or would do."""

    dry_run: bool
    retired: tuple[str, ...]
    """Versions that retention deleted, as tenant/name@number."""
    blobs: int
    """Deleted ones, and their bytes."""
    bytes: int
    kept_by_lease: int
    """Blobs of no version that stay because they were uploaded lately."""


class Snapshot(_Record):
    """Everything a gateway needs to resolve names and know keys, as of change ``seq``."""

    seq: int
    adapters: tuple[AdapterRecord, ...]
    keys: tuple[KeyGrant, ...] = ()
    """All that are not revoked; none at all means that nobody needs one."""
    head: Digest | None = None
    """The audit's digest at ``seq``, which no other history has; None of an earlier release."""
    tenants: tuple[TenantQuotas, ...] = ()
    """Those that have quotas."""


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
    head: Digest | None = None
    """As of a snapshot: pass it with ``since``."""
    tenants: tuple[TenantQuotas, ...] | None = None
    """All that have quotas, if a tenant changed; None leaves them as they are."""


SINCE_FULL = frozenset({"head", "tenants"})
"""Fields of ``Snapshot`` and ``Changes`` that only readers who ask for all are sent: those of the first releases
refuse a field that they do not know, and would hear of no revoked key any more."""
