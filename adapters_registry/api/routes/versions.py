"""Routes of versions: publish, read, evaluate, delete."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from adapters_registry import errors
from adapters_registry.api.auth import Reader, ReaderOrServer, Writer
from adapters_registry.api.bodies import CommitBody, EvaluationBody, JsonBody, check_lineage
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import Named, Number, P, Sha256, digest, placed, rendered, reply, reply_long
from adapters_registry.records import Evaluation, Lineage, Published, VersionDetail
from adapters_registry.registry import Origin
from adapters_registry.support.errors import tree

router = APIRouter(tags=["versions"])
Commit = Annotated[CommitBody, Depends(JsonBody(CommitBody).read)]
Found = Annotated[EvaluationBody, Depends(JsonBody(EvaluationBody).read)]
_REFUSED = answers(
    errors.AdapterNotFound,
    errors.BaseNotFound,
    errors.BodyTooLarge,
    errors.TruncatedUpload,
    errors.QuotaExceeded,
    errors.AliasProtected,
    errors.EvaluationRequired,
    errors.GenerationMismatch,
    errors.BlobMissing,
    *tree(errors.AdapterRefused),
    errors.CheckUnavailable,
    good={201: {"model": Published, "description": "A new version."}},
)
_OF_ADAPTER = (errors.AdapterNotFound, errors.VersionNotFound, errors.VersionDeleted)


@router.post("/v1/adapters/{tenant}/{name}/versions", response_model=Published, responses=_REFUSED)
async def publish(by: Writer, plane: P, tenant: Named, name: Named, body: Commit) -> Response:
    """Make uploaded files a version; the same files again return the existing version."""
    check_lineage(body.lineage, plane.limits.lineage_bytes)
    origin = Origin(body.base, body.promote, body.lineage, body.allowed)
    async with placed(plane.validations, by, plane.limits, "commits at once"):
        published = await asyncio.to_thread(plane.registry.publish, tenant, name, body.files, origin, by=by)
    return rendered(published, 201 if published.created else 200)


@router.get("/v1/versions/{sha256}", response_model=VersionDetail, responses=answers(*_OF_ADAPTER))
async def version(by: ReaderOrServer, plane: P, sha256: Sha256) -> Response:
    """With its manifest, as far as the caller may see it."""
    return await reply(lambda: plane.registry.version(digest(sha256), by.tenant))


@router.get("/v1/versions/{sha256}/lineage", response_model=Lineage, responses=answers(*_OF_ADAPTER))
async def lineage(by: Reader, plane: P, sha256: Sha256) -> Response:
    """The version's parents and children."""
    return await reply_long(plane, by, lambda: plane.registry.lineage(digest(sha256), by.tenant))


@router.delete(
    "/v1/adapters/{tenant}/{name}/versions/{number}",
    status_code=204,
    responses=answers(*_OF_ADAPTER, errors.AliasInUse),
)
async def delete_version(by: Writer, plane: P, tenant: Named, name: Named, number: Number) -> None:
    """Refused while an alias points at it."""
    await asyncio.to_thread(plane.registry.delete_version, tenant, name, number, by=by)


@router.put(
    "/v1/adapters/{tenant}/{name}/versions/{number}/evaluations/{evaluation}",
    response_model=Evaluation,
    responses=answers(*_OF_ADAPTER, errors.BodyTooLarge, errors.TruncatedUpload),
)
async def evaluate(
    by: Writer, plane: P, tenant: Named, name: Named, number: Number, evaluation: Named, body: Found
) -> Response:
    """Record the result of an evaluation, in place of its earlier result."""
    return await reply(
        lambda: plane.registry.evaluate(tenant, name, number, evaluation, body.passed, body.metrics, by=by)
    )
