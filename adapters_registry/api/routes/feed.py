"""Routes that gateways follow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from adapters_registry.access import Principal
from adapters_registry.api.auth import Server
from adapters_registry.api.describe import answers
from adapters_registry.api.plane import P, Plane, on_long_thread, rendered
from adapters_registry.errors import Overloaded
from adapters_registry.manifest import DIGEST_PATTERN
from adapters_registry.records import SINCE_FULL, Changes, Snapshot

WAIT_S = 60.0
"""Longest long-poll; longer values of `wait_s` are reduced to this."""
router = APIRouter(tags=["feed"])
Since = Annotated[int, Query(ge=0, lt=1 << 53)]
Head = Annotated[str | None, Query(pattern=DIGEST_PATTERN)]
WaitS = Annotated[float, Query(ge=0, allow_inf_nan=False)]


@router.get("/v1/snapshot", response_model=Snapshot, responses=answers())
async def snapshot(by: Server, plane: P, full: bool = False) -> Response:
    """All tenants' adapters and keys; `full` includes the fields that readers of the first releases refuse."""
    return await on_long_thread(plane, by, lambda: rendered(plane.registry.snapshot(), leave_out=_left_out(full)))


@router.get("/v1/changes", response_model=Changes, responses=answers())
async def changes(
    by: Server, plane: P, since: Since, wait_s: WaitS = 0.0, head: Head = None, full: bool = False
) -> Response:
    """Changes after `since`; waits up to `wait_s` for a change.

    `head` is the value that came with `since`: if the history differs, the answer has `reset`. `full` as for the
    snapshot.
    """
    watchers = plane.watchers
    if not watchers.take(by.account, alone=by.is_only_caller):
        raise Overloaded(
            f"{watchers.used} long-polls are under way, {watchers.held(by.account)} of them this key's: "
            "come back later.",
            retry_after_s=1,
        )
    try:
        found = await _watch(plane, by, _Place(since, head), min(wait_s, WAIT_S))
    finally:
        watchers.give_back(by.account)
    return await asyncio.to_thread(lambda: rendered(found, leave_out=_left_out(full)))


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a reader has read, and in which history."""

    since: int
    head: str | None


def _left_out(full: bool) -> frozenset[str]:
    return frozenset() if full else SINCE_FULL


async def _watch(plane: Plane, by: Principal, place: _Place, wait_s: float) -> Changes:
    """The count is read before the database, so that no commit is missed between the read and the wait."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        seen = plane.feed.commits
        found = await _look(plane, by, place)
        left = deadline - loop.time()
        if found.seq != place.since or found.reset or left <= 0 or plane.feed.closed:
            return found
        await plane.feed.wait(seen, left)


async def _look(plane: Plane, by: Principal, place: _Place) -> Changes:
    if place.since == 0:  # the whole state: a long read
        return await on_long_thread(plane, by, lambda: plane.registry.changes(0, place.head))
    return await asyncio.to_thread(plane.registry.changes, place.since, place.head)
