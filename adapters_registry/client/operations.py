"""Keys, tenants, bases, the audit log and the collection by HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import TypeAdapter

from adapters_registry.access import Scope
from adapters_registry.client.connection import Connection, given
from adapters_registry.manifest import BaseManifest
from adapters_registry.records import (
    AuditPage,
    AuditReport,
    BaseRecord,
    Collected,
    KeyRecord,
    NewKey,
    Quotas,
    TenantBounds,
    TenantRecord,
)
from adapters_registry.wire import parse

_THOROUGH_S = 3600.0
"""Bound on the time of a collection, or of reading the whole audit log."""


class OperationCalls(Connection):
    """Calls for operators."""

    def health(self) -> None:
        """Raises unless the registry is healthy."""
        self._send("GET", "/health")

    # Bases

    def bases(self) -> tuple[BaseRecord, ...]:
        """Most recently announced first."""
        answer = self._send("GET", "/v1/bases").json()
        return TypeAdapter(tuple[BaseRecord, ...]).validate_python(answer["bases"])

    def base(self, digest: str) -> BaseManifest:
        return parse(BaseManifest, self._send("GET", f"/v1/bases/{digest}"))

    def put_base(self, base: BaseManifest) -> None:
        self._send("PUT", f"/v1/bases/{base.digest}", content=base.model_dump_json())

    # Keys

    def create_key(
        self,
        name: str,
        scopes: Iterable[Scope],
        tenant: str | None = None,
        quotas: Quotas = Quotas(),
        expires_at: datetime | None = None,
    ) -> NewKey:
        """``tenant`` None is the caller's; for an operator, every tenant. The first key must be an operator's."""
        body = {
            "name": name,
            "scopes": list(scopes),
            "tenant": tenant,
            "quotas": quotas.model_dump(),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
        }
        return parse(NewKey, self._send("POST", "/v1/keys", json=body))

    def keys(self, tenant: str | None = None) -> tuple[KeyRecord, ...]:
        """Oldest first, including expired and revoked keys."""
        answer = self._send("GET", "/v1/keys", params=given(tenant=tenant)).json()
        return TypeAdapter(tuple[KeyRecord, ...]).validate_python(answer["keys"])

    def key(self, id: str) -> KeyRecord:
        return parse(KeyRecord, self._send("GET", f"/v1/keys/{id}"))

    def rotate_key(self, id: str, overlap_s: float) -> NewKey:
        """A new key that replaces it; the old one stays valid for ``overlap_s``."""
        return parse(NewKey, self._send("POST", f"/v1/keys/{id}/rotate", json={"overlap_s": overlap_s}))

    def revoke_key(self, id: str) -> None:
        self._send("DELETE", f"/v1/keys/{id}")

    # Tenants

    def tenants(self) -> tuple[TenantRecord, ...]:
        answer = self._send("GET", "/v1/tenants").json()
        return TypeAdapter(tuple[TenantRecord, ...]).validate_python(answer["tenants"])

    def tenant(self, name: str) -> TenantRecord:
        """With its usage."""
        return parse(TenantRecord, self._send("GET", f"/v1/tenants/{name}"))

    def put_tenant(self, name: str, bounds: TenantBounds) -> TenantRecord:
        """Replace all its limits."""
        fields = bounds.model_dump(exclude_none=True)  # a registry of an earlier release knows fewer of them
        return parse(TenantRecord, self._send("PUT", f"/v1/tenants/{name}", json=fields))

    # The audit and the collection

    def audit(self, after: int = 0, limit: int | None = None) -> AuditPage:
        """One page, oldest first; ``after`` is the ``next`` of the page before."""
        return parse(AuditPage, self._send("GET", "/v1/audit", params=given(after=after, limit=limit)))

    def verify_audit(self) -> AuditReport:
        """``AuditBroken`` if an entry differs from what was written."""
        return parse(AuditReport, self._send("GET", "/v1/audit/verify", timeout=_THOROUGH_S))

    def collect(self, dry_run: bool, grace_s: float | None = None) -> Collected:
        """Retire versions by the tenants' policies, delete bytes that nothing refers to; ``dry_run`` only reports."""
        body = {"dry_run": dry_run, "grace_s": grace_s}
        return parse(Collected, self._send("POST", "/v1/gc", json=body, timeout=_THOROUGH_S))
