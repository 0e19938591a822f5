"""State shared by the handlers, and the dependency that returns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from adapters_registry.access import Principal
from adapters_registry.api.uploads import Uploads
from adapters_registry.blobs import Staging
from adapters_registry.edge.aside import Aside
from adapters_registry.edge.origins import Origins
from adapters_registry.edge.shares import Gate, NoPlace, Shares
from adapters_registry.errors import Overloaded
from adapters_registry.feed import Feed
from adapters_registry.keys import Keys
from adapters_registry.manifest import NAME_PATTERN
from adapters_registry.records import AliasRecord
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits

T = TypeVar("T")

_INLINE_BYTES = 16 << 10
"""Bytes of a body that are parsed on the event loop; longer ones would delay other requests."""


class Plane:
    """A registry with what serving it needs."""

    def __init__(
        self,
        registry: Registry,
        keys: Keys,
        staging: Staging,
        feed: Feed,
        limits: Limits,
        origins: Origins = Origins(),
    ) -> None:
        self.registry = registry
        self.keys = keys
        self.staging = staging
        self.feed = feed
        self.limits = limits
        self.origins = origins
        """Origins whose pages may send requests."""
        self.uploads = Uploads(
            registry.blobs, staging, limits, registry.uploaded, registry.holds, registry.check_room
        )
        share = limits.tenant_share
        self.receiving = Gate(limits.uploads, share)
        self.validations = Gate(limits.validations, share)
        self.long_reads = Gate(limits.long_reads, share)
        self.long_threads = ThreadPoolExecutor(limits.long_reads, "long")
        """Separate, so that short requests always find a thread."""
        self.bodies = Aside("bodies", 1, inline=_INLINE_BYTES, pauses=True)
        self.watchers = Shares(limits.watchers, share)


def plane_of(request: Request) -> Plane:
    plane = request.app.state.plane
    assert isinstance(plane, Plane)
    return plane


P = Annotated[Plane, Depends(plane_of)]
Named = Annotated[str, Path(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Path(pattern=r"^(sha256:)?[0-9a-f]{64}$", description="With or without `sha256:`.")]
KeyId = Annotated[str, Path(pattern=r"^[a-z2-7]{12}$")]
Number = Annotated[int, Path(gt=0, lt=1 << 31)]
OfTenant = Annotated[str | None, Query(pattern=NAME_PATTERN)]
IfMatch = Annotated[str | None, Header(max_length=32, description='The alias\' generation, e.g. `"3"`.')]


def digest(sha256: str) -> str:
    """The full digest for the hex digits in a path."""
    return f"sha256:{sha256.removeprefix('sha256:')}"


def rendered(value: BaseModel, status: int = 200, leave_out: Collection[str] = ()) -> Response:
    return Response(value.model_dump_json(exclude=set(leave_out)), status, media_type="application/json")


async def reply(verb: Callable[[], BaseModel]) -> Response:
    """The result of ``verb``, which runs and is rendered on a thread, since both may take long."""
    return await asyncio.to_thread(lambda: rendered(verb()))


@asynccontextmanager
async def placed(gate: Gate, by: Principal, limits: Limits, what: str) -> AsyncIterator[None]:
    """Holds a place of the caller's share. Raises ``Overloaded`` if none becomes free in time."""
    try:
        async with gate.place(by.account, limits.patience_s, alone=by.is_only_caller):
            yield
    except NoPlace as full:
        raise Overloaded(f"Too many {what}: {full}. Come back later.", retry_after_s=1) from None


async def reply_long(plane: Plane, by: Principal, verb: Callable[[], BaseModel]) -> Response:
    """As ``reply``, for a verb that may take long."""
    return await on_long_thread(plane, by, lambda: rendered(verb()))


async def on_long_thread(plane: Plane, by: Principal, work: Callable[[], T]) -> T:
    """The result of ``work``; short requests do not wait for it. Raises ``Overloaded``."""
    async with placed(plane.long_reads, by, plane.limits, "long reads at once"):
        return await asyncio.get_running_loop().run_in_executor(plane.long_threads, work)


async def reply_alias(verb: Callable[[], AliasRecord]) -> Response:
    """The result of ``verb``, with the alias' generation as its ETag."""
    record = await asyncio.to_thread(verb)
    answer = rendered(record)
    answer.headers["etag"] = f'"{record.generation}"'
    return answer
