"""Routes of bases, which the service announces."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from adapters_registry import errors
from adapters_registry.api.auth import ReaderOrServer, Server
from adapters_registry.api.bodies import JsonBody
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import P, Sha256, digest, reply
from adapters_registry.errors import InvalidValue
from adapters_registry.manifest import BaseManifest
from adapters_registry.records import BaseRecord

router = APIRouter(tags=["bases"])
Announced = Annotated[BaseManifest, Depends(JsonBody(BaseManifest, "base_bytes", unknown="ignore").read)]
"""A service of a newer release may send more fields; the known ones are enough for the checks here."""


class Bases(BaseModel):
    """Most recently announced first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bases: tuple[BaseRecord, ...]


@router.get("/v1/bases", response_model=Bases, responses=answers())
async def bases(by: ReaderOrServer, plane: P) -> Response:
    """Most recently announced first."""
    return await reply(lambda: Bases(bases=plane.registry.bases()))


@router.get("/v1/bases/{sha256}", response_model=BaseManifest, responses=answers(errors.BaseNotFound))
async def base(by: ReaderOrServer, plane: P, sha256: Sha256) -> Response:
    """The manifest that uploads for this base are checked against."""
    return await reply(lambda: plane.registry.base(digest(sha256)))


@router.put("/v1/bases/{sha256}", status_code=204, responses=answers(errors.BodyTooLarge, errors.TruncatedUpload))
async def put_base(by: Server, plane: P, sha256: Sha256, body: Announced) -> None:
    """Adapters for this base are checked against it. Repeat the request to announce that the base is still served."""
    if body.digest != digest(sha256):
        raise InvalidValue("The manifest's digest is not the path's.", param="digest")
    await asyncio.to_thread(plane.registry.put_base, body, by=by)
