"""Thin handlers: parse, call the registry off the event loop, render."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from adapters_registry.api.bodies import (
    AliasBody,
    CommitBody,
    VersionNumber,
    check_lineage,
    digest,
    generation,
    read_body,
)
from adapters_registry.api.uploads import Uploads, send
from adapters_registry.errors import BlobNotFound, InvalidValue, Overloaded
from adapters_registry.feed import Feed
from adapters_registry.manifest import NAME_PATTERN, BaseManifest
from adapters_registry.records import AdapterPage, AdapterRecord, AliasRecord, Changes, Snapshot, VersionDetail
from adapters_registry.registry import Origin, Registry
from adapters_registry.settings import Limits

WAIT_S = 60.0
"""Longest long-poll; a longer wish is shortened."""


class Plane:
    """What the handlers need."""

    def __init__(self, registry: Registry, feed: Feed, limits: Limits) -> None:
        self.registry = registry
        self.feed = feed
        self.limits = limits
        self.uploads = Uploads(registry.blobs, limits)
        self.validations = asyncio.Semaphore(limits.validations)
        self.watchers = 0


def _plane(request: Request) -> Plane:
    plane = request.app.state.plane
    assert isinstance(plane, Plane)
    return plane


P = Annotated[Plane, Depends(_plane)]
Named = Annotated[str, Path(pattern=NAME_PATTERN)]
IfMatch = Annotated[str | None, Header()]
router = APIRouter()


def _json(value: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(value.model_dump_json(), status, headers, media_type="application/json")


def _alias(record: AliasRecord) -> Response:
    return _json(record, headers={"etag": f'"{record.generation}"'})


@router.get("/health")
async def health(plane: P) -> dict[str, str]:
    await asyncio.to_thread(plane.registry.ping)
    return {"status": "ok"}


@router.head("/v1/uploads/{sha256}")
async def uploaded(plane: P, sha256: str) -> Response:
    size = await asyncio.to_thread(plane.registry.blobs.size, digest(sha256))
    if size is None:
        raise BlobNotFound(f"No blob {sha256}.", param="digest")
    return Response(headers={"x-blob-size": str(size)})


@router.put("/v1/uploads/{sha256}")
async def upload(plane: P, request: Request, sha256: str) -> JSONResponse:
    name = digest(sha256)
    new, size = await plane.uploads.receive(request, name)
    return JSONResponse({"digest": name, "size": size}, 201 if new else 200)


@router.get("/v1/blobs/{sha256}")
async def blob(plane: P, sha256: str) -> StreamingResponse:
    name = digest(sha256)
    size = await asyncio.to_thread(plane.registry.blobs.size, name)
    if size is None:
        raise BlobNotFound(f"No blob {name}.", param="digest")
    headers = {"content-length": str(size), "etag": f'"{name}"'}
    return StreamingResponse(send(plane.registry.blobs, name), headers=headers, media_type="application/octet-stream")


@router.post("/v1/adapters/{tenant}/{name}/versions")
async def publish(plane: P, request: Request, tenant: Named, name: Named) -> Response:
    body = await read_body(request, CommitBody, plane.limits.commit_bytes)
    check_lineage(body.lineage, plane.limits.lineage_bytes)
    origin = Origin(body.base, body.promote, body.lineage)
    async with plane.validations:
        published = await asyncio.to_thread(plane.registry.publish, tenant, name, body.files, origin)
    return _json(published, 201 if published.created else 200)


@router.get("/v1/adapters")
async def adapters(
    plane: P,
    tenant: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    after: Annotated[str | None, Query(max_length=127)] = None,
    limit: Annotated[int | None, Query(gt=0)] = None,
) -> AdapterPage:
    return await asyncio.to_thread(plane.registry.page, tenant, after, limit)


@router.get("/v1/adapters/{tenant}/{name}")
async def adapter(plane: P, tenant: Named, name: Named) -> AdapterRecord:
    return await asyncio.to_thread(plane.registry.adapter, tenant, name)


@router.delete("/v1/adapters/{tenant}/{name}", status_code=204)
async def delete_adapter(plane: P, tenant: Named, name: Named) -> None:
    await asyncio.to_thread(plane.registry.delete_adapter, tenant, name)


@router.delete("/v1/adapters/{tenant}/{name}/versions/{number}", status_code=204)
async def delete_version(plane: P, tenant: Named, name: Named, number: VersionNumber) -> None:
    await asyncio.to_thread(plane.registry.delete_version, tenant, name, number)


@router.get("/v1/versions/{sha256}")
async def version(plane: P, sha256: str) -> VersionDetail:
    return await asyncio.to_thread(plane.registry.version, digest(sha256))


@router.get("/v1/adapters/{tenant}/{name}/aliases/{alias}")
async def alias(plane: P, tenant: Named, name: Named, alias: str) -> Response:
    return _alias(await asyncio.to_thread(plane.registry.resolve, tenant, name, alias))


@router.put("/v1/adapters/{tenant}/{name}/aliases/{alias}")
async def move_alias(
    plane: P, request: Request, tenant: Named, name: Named, alias: str, if_match: IfMatch = None
) -> Response:
    body = await read_body(request, AliasBody, plane.limits.commit_bytes)
    expected = generation(if_match)
    moved = await asyncio.to_thread(plane.registry.move_alias, tenant, name, alias, body.version, expected)
    return _alias(moved)


@router.post("/v1/adapters/{tenant}/{name}/aliases/{alias}/rollback")
async def rollback(plane: P, tenant: Named, name: Named, alias: str, if_match: IfMatch = None) -> Response:
    expected = generation(if_match)
    return _alias(await asyncio.to_thread(plane.registry.rollback, tenant, name, alias, expected))


@router.delete("/v1/adapters/{tenant}/{name}/aliases/{alias}", status_code=204)
async def delete_alias(plane: P, tenant: Named, name: Named, alias: str, if_match: IfMatch = None) -> None:
    await asyncio.to_thread(plane.registry.delete_alias, tenant, name, alias, generation(if_match))


@router.get("/v1/bases")
async def bases(plane: P) -> JSONResponse:
    records = await asyncio.to_thread(plane.registry.bases)
    return JSONResponse({"bases": [record.model_dump() for record in records]})


@router.get("/v1/bases/{sha256}")
async def base(plane: P, sha256: str) -> BaseManifest:
    return await asyncio.to_thread(plane.registry.base, digest(sha256))


@router.put("/v1/bases/{sha256}", status_code=204)
async def put_base(plane: P, request: Request, sha256: str) -> None:
    manifest = await read_body(request, BaseManifest, plane.limits.base_bytes)
    if manifest.digest != digest(sha256):
        raise InvalidValue("The manifest's digest is not the path's.", param="digest")
    await asyncio.to_thread(plane.registry.put_base, manifest)


@router.get("/v1/snapshot")
async def snapshot(plane: P) -> Snapshot:
    return await asyncio.to_thread(plane.registry.snapshot)


@router.get("/v1/changes")
async def changes(
    plane: P,
    since: Annotated[int, Query(ge=0, lt=1 << 53)],
    wait_s: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 0.0,
) -> Changes:
    if plane.watchers >= plane.limits.watchers:
        raise Overloaded(f"{plane.watchers} long-polls are under way: come back later.", retry_after_s=1)
    plane.watchers += 1
    try:
        return await _watch(plane, since, min(wait_s, WAIT_S))
    finally:
        plane.watchers -= 1


async def _watch(plane: Plane, since: int, wait_s: float) -> Changes:
    """The count is read before the database, so that no commit falls between look and wait."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        seen = plane.feed.commits
        found = await asyncio.to_thread(plane.registry.changes, since)
        left = deadline - loop.time()
        if found.seq != since or left <= 0 or plane.feed.closed:
            return found
        await plane.feed.wait(seen, left)
