"""Routes of API keys. A tenant's admin lists and creates keys of its tenant; an operator, all keys."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from adapters_registry import errors
from adapters_registry.access import Principal
from adapters_registry.api.auth import Admin, no_tenant
from adapters_registry.api.bodies import JsonBody, KeyBody, RotationBody
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import KeyId, OfTenant, P, Plane, rendered, reply, reply_long
from adapters_registry.errors import KeyNotFound
from adapters_registry.keys import no_key
from adapters_registry.records import KeyRecord, NewKey

router = APIRouter(tags=["keys"])
Wish = Annotated[KeyBody, Depends(JsonBody(KeyBody).read)]
Rotation = Annotated[RotationBody, Depends(JsonBody(RotationBody).read)]
_BODY = (errors.BodyTooLarge, errors.TruncatedUpload)
_TEXT_ONCE = "The key's text, which is never returned again."


class KeyList(BaseModel):
    """Oldest first, including expired and revoked keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[KeyRecord, ...]


@router.post(
    "/v1/keys",
    status_code=201,
    response_model=NewKey,
    response_description=_TEXT_ONCE,
    responses=answers(errors.TenantNotFound, *_BODY),
)
async def create_key(by: Admin, plane: P, body: Wish) -> Response:
    """The first key must be an operator's: from then on every request needs a key."""
    if body.tenant is not None and not by.acts_for(body.tenant):
        raise no_tenant(body.tenant)
    tenant = body.tenant or by.tenant
    new = await asyncio.to_thread(
        plane.keys.create, tenant, body.name, body.scopes, body.quotas, body.expires_at, by=by
    )
    return rendered(new, 201)


@router.get("/v1/keys", response_model=KeyList, responses=answers(errors.TenantNotFound))
async def list_keys(by: Admin, plane: P, tenant: OfTenant = None) -> Response:
    """Without secrets, which the registry does not store."""
    if tenant is not None and not by.acts_for(tenant):
        raise no_tenant(tenant)
    return await reply_long(plane, by, lambda: KeyList(keys=plane.keys.list(tenant or by.tenant)))


@router.get("/v1/keys/{id}", response_model=KeyRecord, responses=answers(KeyNotFound))
async def key(by: Admin, plane: P, id: KeyId) -> Response:
    return await reply(lambda: _own(plane, by, id))


@router.post(
    "/v1/keys/{id}/rotate",
    status_code=201,
    response_model=NewKey,
    response_description=_TEXT_ONCE,
    responses=answers(KeyNotFound, *_BODY),
)
async def rotate_key(by: Admin, plane: P, id: KeyId, body: Rotation) -> Response:
    """A new key with the same rights; the old one stays valid for `overlap_s`."""
    await asyncio.to_thread(_own, plane, by, id)
    return rendered(await asyncio.to_thread(plane.keys.rotate, id, body.overlap_s, by=by), 201)


@router.delete("/v1/keys/{id}", status_code=204, responses=answers(KeyNotFound, errors.LastAdminKey))
async def revoke_key(by: Admin, plane: P, id: KeyId) -> None:
    """Takes effect at once and cannot be undone."""
    await asyncio.to_thread(_own, plane, by, id)
    await asyncio.to_thread(plane.keys.revoke, id, by=by)


def _own(plane: Plane, by: Principal, id: str) -> KeyRecord:
    """For a tenant's admin, keys of other tenants and of operators return the 404 of a missing key."""
    record = plane.keys.get(id)
    if by.tenant not in (None, record.tenant):
        raise no_key(id)
    return record
