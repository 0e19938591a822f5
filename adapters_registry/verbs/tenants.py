"""Tenants: their limits and their usage."""

from __future__ import annotations

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.errors import TenantNotFound
from adapters_registry.records import TenantBounds, TenantRecord
from adapters_registry.rows import Change
from adapters_registry.verbs.base import Verbs


class TenantVerbs(Verbs):
    """Verbs of tenants, which own adapters."""

    def tenants(self) -> tuple[TenantRecord, ...]:
        """By name, with their usage."""
        with self.metadata.reading() as rows:
            return rows.tenants.records()

    def tenant(self, name: str) -> TenantRecord:
        with self.metadata.reading() as rows:
            found = rows.tenants.records(name)
        if not found:
            raise TenantNotFound(f"No tenant {name}.", param="tenant")
        return found[0]

    def put_tenant(self, name: str, bounds: TenantBounds, by: Principal = ANONYMOUS) -> TenantRecord:
        """Create it, or replace its limits. Nothing above the new limits is deleted; only additions are refused."""
        with self._changing() as rows:
            known = rows.tenant_id(name)
            tenant_id = rows.tenants.make(name)
            if known is None or rows.tenants.bounds(tenant_id) != bounds:
                rows.tenants.bound(tenant_id, bounds)
                rows.record(Change("tenant.put", name, detail=bounds.model_dump()), actor=by.id)
            (record,) = rows.tenants.records(name)
        return record
