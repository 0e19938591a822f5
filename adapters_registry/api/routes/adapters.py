"""Routes of adapters, and of the tenants that they are shared with."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from adapters_registry.api.auth import Reader, Writer
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import Named, OfTenant, P, reply, reply_long
from adapters_registry.errors import AdapterNotFound
from adapters_registry.records import AdapterPage, AdapterRecord

router = APIRouter(tags=["adapters"])
Grantee = Annotated[str, Path(pattern=r"^(\*|[a-z0-9][a-z0-9._-]{0,62})$", description="A tenant, or `*` for all.")]
After = Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}$")]
Limit = Annotated[int | None, Query(gt=0, lt=1 << 31)]
_FOUND = answers(AdapterNotFound)


@router.get("/v1/adapters", response_model=AdapterPage, responses=answers())
async def adapters(
    by: Reader, plane: P, tenant: OfTenant = None, after: After = None, limit: Limit = None
) -> Response:
    """By tenant and name: the caller's own adapters, and those shared with it."""
    return await reply_long(plane, by, lambda: plane.registry.page(tenant, after, limit, visible_to=by.tenant))


@router.get("/v1/adapters/{tenant}/{name}", response_model=AdapterRecord, responses=_FOUND)
async def adapter(by: Reader, plane: P, tenant: Named, name: Named) -> Response:
    """One adapter with its versions and aliases."""
    return await reply(lambda: plane.registry.adapter(tenant, name, visible_to=by.tenant))


@router.delete("/v1/adapters/{tenant}/{name}", status_code=204, responses=_FOUND)
async def delete_adapter(by: Writer, plane: P, tenant: Named, name: Named) -> None:
    """With its versions and aliases."""
    await asyncio.to_thread(plane.registry.delete_adapter, tenant, name, by=by)


@router.put("/v1/adapters/{tenant}/{name}/shares/{grantee}", response_model=AdapterRecord, responses=_FOUND)
async def share(by: Writer, plane: P, tenant: Named, name: Named, grantee: Grantee) -> Response:
    """Let another tenant, or all tenants, use the adapter."""
    return await reply(lambda: plane.registry.share(tenant, name, grantee, by=by))


@router.delete("/v1/adapters/{tenant}/{name}/shares/{grantee}", response_model=AdapterRecord, responses=_FOUND)
async def unshare(by: Writer, plane: P, tenant: Named, name: Named, grantee: Grantee) -> Response:
    """Stop sharing; succeeds also if it was not shared."""
    return await reply(lambda: plane.registry.unshare(tenant, name, grantee, by=by))
