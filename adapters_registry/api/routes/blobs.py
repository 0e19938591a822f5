"""The route of bytes by digest."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from adapters_registry.access import Principal
from adapters_registry.api.auth import ReaderOrServer
from adapters_registry.api.describe import Responses, answers, headers
from adapters_registry.api.plane import P, Plane, Sha256, digest
from adapters_registry.api.uploads import send
from adapters_registry.errors import BlobNotFound

router = APIRouter(tags=["blobs"])
_BYTES: Responses = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": headers("ETag"),
    }
}

_HEAD: Responses = {200: {"headers": headers("ETag", "Content-Length")}}


@router.head("/v1/blobs/{sha256}", response_class=Response, responses=answers(BlobNotFound, good=_HEAD))
async def blob_size(by: ReaderOrServer, plane: P, sha256: Sha256) -> Response:
    """Length of the file; its bytes are not read."""
    name = digest(sha256)
    return Response(headers=_headers(name, await asyncio.to_thread(_size, plane, by, name)))


@router.get("/v1/blobs/{sha256}", response_class=StreamingResponse, responses=answers(BlobNotFound, good=_BYTES))
async def blob(by: ReaderOrServer, plane: P, sha256: Sha256) -> StreamingResponse:
    """One file of a version that the caller may see."""
    name = digest(sha256)
    headers = _headers(name, await asyncio.to_thread(_size, plane, by, name))
    return StreamingResponse(send(plane.registry.blobs, name), headers=headers)


def _headers(name: str, size: int) -> dict[str, str]:
    return {"content-length": str(size), "etag": f'"{name}"', "content-type": "application/octet-stream"}


def _size(plane: Plane, by: Principal, name: str) -> int:
    """Callers that may not see the blob get the 404 of a missing one, before the store is consulted."""
    size = plane.registry.blobs.size(name) if by.tenant is None or plane.registry.sees(by.tenant, name) else None
    if size is None:
        raise BlobNotFound(f"No blob {name}.", param="digest")
    return size
