"""Routes that serving planes follow."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from adapters_registry.api.auth import Server
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import P, Plane, rendered, reply
from adapters_registry.errors import Overloaded
from adapters_registry.records import Changes, Snapshot

WAIT_S = 60.0
"""Longest long-poll; a longer wish is shortened."""
router = APIRouter(tags=["feed"])
Since = Annotated[int, Query(ge=0, lt=1 << 53)]
WaitS = Annotated[float, Query(ge=0, allow_inf_nan=False)]


@router.get("/v1/snapshot", response_model=Snapshot, responses=answers())
async def snapshot(by: Server, plane: P) -> Response:
    """All tenants' adapters and keys."""
    return await reply(plane.registry.snapshot)


@router.get("/v1/changes", response_model=Changes, responses=answers())
async def changes(by: Server, plane: P, since: Since, wait_s: WaitS = 0.0) -> Response:
    """What changed after `since`; waits for something to change, up to `wait_s`."""
    if plane.watchers >= plane.limits.watchers:
        raise Overloaded(f"{plane.watchers} long-polls are under way: come back later.", retry_after_s=1)
    plane.watchers += 1
    try:
        return rendered(await _watch(plane, since, min(wait_s, WAIT_S)))
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
