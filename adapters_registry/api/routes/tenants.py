"""Routes of tenants: their limits and their usage."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from adapters_registry import errors
from adapters_registry.access import Principal
from adapters_registry.api.auth import Admin, Operator
from adapters_registry.api.bodies import JsonBody
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import Named, P, Plane, reply, reply_long
from adapters_registry.errors import TenantNotFound
from adapters_registry.records import TenantBounds, TenantRecord

router = APIRouter(tags=["tenants"])
Bounds = Annotated[TenantBounds, Depends(JsonBody(TenantBounds).read)]


class Tenants(BaseModel):
    """By name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenants: tuple[TenantRecord, ...]


@router.get("/v1/tenants", response_model=Tenants, responses=answers())
async def tenants(by: Admin, plane: P) -> Response:
    """All tenants, or the caller's own."""
    return await reply_long(plane, by, lambda: Tenants(tenants=_visible(plane, by)))


@router.get("/v1/tenants/{tenant}", response_model=TenantRecord, responses=answers(TenantNotFound))
async def tenant(by: Admin, plane: P, tenant: Named) -> Response:
    """Its limits and its usage."""
    return await reply(lambda: plane.registry.tenant(tenant))


@router.put(
    "/v1/tenants/{tenant}",
    response_model=TenantRecord,
    responses=answers(TenantNotFound, errors.BodyTooLarge, errors.TruncatedUpload),
)
async def put_tenant(by: Operator, plane: P, tenant: Named, body: Bounds) -> Response:
    """Set all its limits, and create it if it does not exist; nothing that it already stores is deleted."""
    return await reply(lambda: plane.registry.put_tenant(tenant, body, by=by))


def _visible(plane: Plane, by: Principal) -> tuple[TenantRecord, ...]:
    return plane.registry.tenants() if by.tenant is None else (plane.registry.tenant(by.tenant),)
