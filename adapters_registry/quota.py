"""Limits of a tenant: plain functions of its settings, the registry's defaults and its usage."""

from __future__ import annotations

from adapters_registry.errors import QuotaExceeded
from adapters_registry.records import TenantBounds
from adapters_registry.settings import Limits


def bytes_bound(bounds: TenantBounds, limits: Limits) -> int | None:
    return limits.tenant_bytes if bounds.max_bytes is None else bounds.max_bytes


def versions_bound(bounds: TenantBounds, limits: Limits) -> int | None:
    return limits.tenant_versions if bounds.max_versions is None else bounds.max_versions


def check_bytes(tenant: str, bound: int, used: int, more: int) -> None:
    if used + more > bound:
        raise QuotaExceeded(
            f"Tenant {tenant} would hold {used + more} bytes, over {bound} (max_bytes): delete versions, or have the "
            "bound raised.",
            param="max_bytes",
        )


def check_versions(tenant: str, bound: int, used: int) -> None:
    if used + 1 > bound:
        raise QuotaExceeded(
            f"Tenant {tenant} would hold {used + 1} versions, over {bound} (max_versions): delete some, or have the "
            "bound raised.",
            param="max_versions",
        )
