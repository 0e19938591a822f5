"""Adapters: listed, shared with other tenants, deleted."""

from __future__ import annotations

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.errors import InvalidValue
from adapters_registry.history import MoveKind
from adapters_registry.pointing import Pointer, check_protection, existing
from adapters_registry.records import ALL_TENANTS, AdapterPage, AdapterRecord
from adapters_registry.rows import Change
from adapters_registry.verbs.base import Verbs, adapter_id


class AdapterVerbs(Verbs):
    """Verbs of adapters, which group versions and aliases under a name."""

    def adapter(self, tenant: str, name: str, visible_to: str | None = None) -> AdapterRecord:
        """As ``visible_to`` may see it; None sees all."""
        with self.metadata.reading() as rows:
            record = rows.adapters.record(adapter_id(rows, tenant, name, visible_to))
        return _as_seen(record, visible_to)

    def page(
        self,
        tenant: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        visible_to: str | None = None,
    ) -> AdapterPage:
        """One page of what ``visible_to`` may see; ``after`` is the ``next`` of the page before."""
        size = min(limit or self._limits.page, self._limits.page)
        start_tenant, _, start_name = (after or "").partition("/")
        with self.metadata.reading() as rows:
            ids = rows.adapters.page(tenant, (start_tenant, start_name), size + 1, visible_to)
            records = rows.adapters.records(ids[:size])
        more = len(ids) > size
        seen = tuple(_as_seen(record, visible_to) for record in records)
        return AdapterPage(adapters=seen, next=f"{seen[-1].tenant}/{seen[-1].name}" if more else None)

    def delete_adapter(self, tenant: str, name: str, by: Principal = ANONYMOUS) -> None:
        """With its versions, aliases and shares."""
        with self._changing() as rows:
            adapter = adapter_id(rows, tenant, name)
            record = rows.adapters.record(adapter)
            for alias in record.aliases:
                at = Pointer(tenant, name, adapter, alias.alias)
                check_protection(rows, at, existing(rows, at), None, by)
            rows.adapters.delete(adapter)
            subject = f"{tenant}/{name}"
            for alias in record.aliases:
                rows.record(Change(MoveKind.DELETE, subject, adapter, alias.alias), actor=by.id)
            rows.record(Change("adapter.delete", subject, adapter), actor=by.id)

    def share(self, tenant: str, name: str, grantee: str, by: Principal = ANONYMOUS) -> AdapterRecord:
        """Share with another tenant, or with all (``*``)."""
        if grantee == tenant:
            raise InvalidValue(f"{tenant}/{name} is {tenant}'s own: share it with another tenant.", param="grantee")
        return self._grant(tenant, name, grantee, True, by)

    def unshare(self, tenant: str, name: str, grantee: str, by: Principal = ANONYMOUS) -> AdapterRecord:
        return self._grant(tenant, name, grantee, False, by)

    def _grant(self, tenant: str, name: str, grantee: str, shared: bool, by: Principal) -> AdapterRecord:
        with self._changing() as rows:
            adapter = adapter_id(rows, tenant, name)
            if rows.adapters.grant(adapter, grantee, shared):
                action = "adapter.share" if shared else "adapter.unshare"
                change = Change(action, f"{tenant}/{name}", adapter, detail={"grantee": grantee})
                rows.record(change, actor=by.id)
            return rows.adapters.record(adapter)


def _as_seen(record: AdapterRecord, tenant: str | None) -> AdapterRecord:
    """Only the owner sees which other tenants it is shared with."""
    if tenant in (None, record.tenant):
        return record
    known = tuple(grantee for grantee in record.shared_with if grantee in (tenant, ALL_TENANTS))
    return record.model_copy(update={"shared_with": known})
