"""Routes of aliases, the only mutable pointers."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from adapters_registry import errors
from adapters_registry.api.auth import Mover, Protector, Reader
from adapters_registry.api.bodies import AliasBody, JsonBody, ProtectionBody, generation
from adapters_registry.api.describe import Responses, answers, headers
from adapters_registry.api.plane import IfMatch, Named, P, reply_alias
from adapters_registry.records import AliasRecord

router = APIRouter(tags=["aliases"])
Target = Annotated[AliasBody, Depends(JsonBody(AliasBody).read)]
Protection = Annotated[ProtectionBody, Depends(JsonBody(ProtectionBody).read)]
_AT = "/v1/adapters/{tenant}/{name}/aliases/{alias}"
_GOOD: Responses = {200: {"headers": headers("ETag")}}
_KNOWN = (errors.AdapterNotFound, errors.AliasNotFound)
_BODY = (errors.BodyTooLarge, errors.TruncatedUpload)
_MOVED = (
    errors.AliasProtected,
    errors.EvaluationRequired,
    errors.GenerationMismatch,
    errors.GenerationRequired,
    errors.NoPreviousVersion,
    errors.VersionNotFound,
    errors.VersionDeleted,
)


@router.get(_AT, response_model=AliasRecord, responses=answers(*_KNOWN, good=_GOOD))
async def alias(by: Reader, plane: P, tenant: Named, name: Named, alias: Named) -> Response:
    """The version it points at; its generation is the ETag."""
    return await reply_alias(lambda: plane.registry.resolve(tenant, name, alias, visible_to=by.tenant))


@router.put(_AT, response_model=AliasRecord, responses=answers(*_KNOWN, *_BODY, *_MOVED, good=_GOOD))
async def move_alias(
    by: Mover, plane: P, tenant: Named, name: Named, alias: Named, body: Target, if_match: IfMatch = None
) -> Response:
    """Point it at a version if its generation is still the one in `If-Match`; 0 means that it does not exist."""
    expected = generation(if_match)
    return await reply_alias(lambda: plane.registry.move_alias(tenant, name, alias, body.version, expected, by=by))


@router.post(f"{_AT}/rollback", response_model=AliasRecord, responses=answers(*_KNOWN, *_MOVED, good=_GOOD))
async def rollback(
    by: Mover, plane: P, tenant: Named, name: Named, alias: Named, if_match: IfMatch = None
) -> Response:
    """Point it at the version before; repeated, at the one before that."""
    expected = generation(if_match)
    return await reply_alias(lambda: plane.registry.rollback(tenant, name, alias, expected, by=by))


@router.delete(_AT, status_code=204, responses=answers(*_KNOWN, *_MOVED))
async def delete_alias(
    by: Mover, plane: P, tenant: Named, name: Named, alias: Named, if_match: IfMatch = None
) -> None:
    """Remove the alias; versions stay."""
    await asyncio.to_thread(plane.registry.delete_alias, tenant, name, alias, generation(if_match), by=by)


@router.put(f"{_AT}/protection", response_model=AliasRecord, responses=answers(*_KNOWN, *_BODY, good=_GOOD))
async def protect_alias(
    by: Protector, plane: P, tenant: Named, name: Named, alias: Named, body: Protection
) -> Response:
    """Whether it moves with `alias:write` only, and which evaluation a version must have passed."""
    protected, requires = body.protected, body.requires
    return await reply_alias(lambda: plane.registry.protect_alias(tenant, name, alias, protected, requires, by=by))
