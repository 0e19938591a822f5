"""Routes of uploads: raw bytes by digest, continued where they stopped (see ``api/parts.py``)."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from adapters_registry import errors
from adapters_registry.access import DEFAULT_TENANT
from adapters_registry.api.auth import Writer, no_tenant
from adapters_registry.api.describe import answers, bytes_body, headers
from adapters_registry.api.parts import PARTIAL_TYPE, Part, beginning, continuation, flag
from adapters_registry.api.plane import OfTenant, P, Plane, Sha256, digest, placed, rendered
from adapters_registry.api.uploads import State
from adapters_registry.errors import BlobNotFound
from adapters_registry.manifest import Digest

router = APIRouter(tags=["uploads"])
_AT = "/v1/uploads/{sha256}"
_HEADERS = headers("Upload-Offset", "Upload-Complete", "Upload-Length")


class Uploaded(BaseModel):
    """How far an upload is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Digest
    size: int
    """Bytes stored."""
    complete: bool


_RECEIVED = answers(
    errors.TenantNotFound,
    errors.BodyTooLarge,
    errors.TruncatedUpload,
    errors.UploadTimeout,
    errors.OffsetMismatch,
    errors.UnsupportedMediaType,
    errors.DigestMismatch,
    errors.QuotaExceeded,
    good={
        200: {"description": "All bytes are there, as they were before.", "headers": _HEADERS},
        201: {"model": Uploaded, "description": "All bytes are there.", "headers": _HEADERS},
        202: {"model": Uploaded, "description": "More bytes are to come.", "headers": _HEADERS},
    },
)


def _owner(by: Writer, tenant: OfTenant = None) -> str:
    """The tenant that owns the upload; by default the caller's."""
    if tenant is not None and not by.acts_for(tenant):
        raise no_tenant(tenant)
    return tenant or by.tenant or DEFAULT_TENANT


Owner = Annotated[str, Depends(_owner)]


@router.head(
    _AT,
    responses=answers(errors.TenantNotFound, BlobNotFound, good={200: {"headers": _HEADERS}}),
    response_class=Response,
)
async def upload_state(plane: P, owner: Owner, sha256: Sha256) -> Response:
    """How many bytes are stored, where to continue. 404: none."""
    state = await asyncio.to_thread(plane.uploads.state, owner, digest(sha256))
    if state is None:
        raise BlobNotFound(f"Nothing of {digest(sha256)} was uploaded.", param="digest")
    return Response(headers=_headers(state))


@router.put(_AT, response_model=Uploaded, responses=_RECEIVED, openapi_extra=bytes_body())
async def upload(request: Request, by: Writer, plane: P, owner: Owner, sha256: Sha256) -> Response:
    """The bytes from the first one; all of them unless `Upload-Complete: ?0`."""
    part = beginning(request, plane.limits.upload_bytes)
    return await _receive(request, plane, by, owner, digest(sha256), part)


@router.patch(_AT, response_model=Uploaded, responses=_RECEIVED, openapi_extra=bytes_body(PARTIAL_TYPE))
async def continue_upload(request: Request, by: Writer, plane: P, owner: Owner, sha256: Sha256) -> Response:
    """The bytes from `Upload-Offset`; a 409 returns in that header where to continue instead."""
    part = continuation(request, plane.limits.upload_bytes)
    return await _receive(request, plane, by, owner, digest(sha256), part)


@router.delete(_AT, status_code=204, responses=answers(errors.TenantNotFound))
async def discard_upload(plane: P, owner: Owner, sha256: Sha256) -> None:
    """Discard the bytes of an interrupted upload; succeeds also if there are none."""
    await asyncio.to_thread(plane.staging.drop, owner, digest(sha256))


async def _receive(request: Request, plane: Plane, by: Writer, owner: str, name: str, part: Part) -> Response:
    async with placed(plane.receiving, by, plane.limits, "uploads at once"):
        state = await plane.uploads.receive(request, owner, name, part)
    answer = rendered(Uploaded(digest=name, size=state.size, complete=state.complete), _status(state))
    answer.headers.update(_headers(state))
    return answer


def _status(state: State) -> int:
    if not state.complete:
        return 202
    return 201 if state.new else 200


def _headers(state: State) -> dict[str, str]:
    headers = {"upload-offset": str(state.size), "upload-complete": flag(state.complete)}
    return headers if state.length is None else headers | {"upload-length": str(state.length)}
