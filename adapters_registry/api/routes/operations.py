"""Routes for operators: health, audit, collection."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel

from adapters_registry import errors
from adapters_registry.api.auth import OPEN, Operator
from adapters_registry.api.bodies import CollectBody, JsonBody
from adapters_registry.api.describe import answers, describe
from adapters_registry.api.plane import P, reply_long
from adapters_registry.edge.fresh import Fresh
from adapters_registry.records import AuditPage, AuditReport, Collected

router = APIRouter(tags=["operations"])
Collection = Annotated[CollectBody, Depends(JsonBody(CollectBody).read)]
After = Annotated[int, Query(ge=0, lt=1 << 53)]
Limit = Annotated[int | None, Query(gt=0, lt=1 << 31)]


class Health(BaseModel):
    """The registry and its database answer."""

    status: Literal["ok"] = "ok"
    instance: str | None = None
    """The public id of the service key, by which `up` recognises the registry that it started."""


class Root(BaseModel):
    """Where to continue."""

    service: Literal["quickchange-registry"] = "quickchange-registry"
    api: Literal["/v1"] = "/v1"
    health: Literal["/health"] = "/health"
    description: Literal["/openapi.json"] = "/openapi.json"


@router.get("/", response_model=Root, dependencies=[OPEN], responses=answers())
async def root() -> Root:
    """For load balancers and people: returns nothing but that the registry answers."""
    return Root()


@router.get("/health", response_model=Health, dependencies=[OPEN], responses=answers())
async def health(request: Request, plane: P) -> Health:
    """200 as long as the database answers."""
    await asyncio.to_thread(plane.registry.ping)
    return Health(instance=request.app.state.instance)


@router.get("/openapi.json", dependencies=[OPEN], include_in_schema=False)
async def description(request: Request) -> Response:
    """This description, built at the first request: routes do not change while the registry runs."""
    state = request.app.state
    if not hasattr(state, "description"):
        state.description = Fresh(lambda: asyncio.to_thread(_described, request.app), math.inf)
    return Response(await state.description.get(), media_type="application/json")


def _described(app: FastAPI) -> bytes:
    return json.dumps(describe(app)).encode()


@router.get("/v1/audit", response_model=AuditPage, responses=answers())
async def audit(by: Operator, plane: P, after: After = 0, limit: Limit = None) -> Response:
    """Every change, oldest first."""
    return await reply_long(plane, by, lambda: plane.registry.audit(after, limit))


@router.get("/v1/audit/verify", response_model=AuditReport, responses=answers(errors.AuditBroken))
async def verify_audit(by: Operator, plane: P) -> Response:
    """Reads all entries and checks the chain of digests."""
    return await reply_long(plane, by, plane.registry.verify_audit)


@router.post("/v1/gc", response_model=Collected, responses=answers(errors.BodyTooLarge, errors.TruncatedUpload))
async def collect(by: Operator, plane: P, body: Collection) -> Response:
    """Retire versions by the tenants' policies, and delete bytes that nothing refers to."""
    return await reply_long(plane, by, lambda: plane.registry.collect(body.dry_run, body.grace_s, by=by))
