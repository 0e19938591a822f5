"""What the handlers need, and how they find it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from adapters_registry.api.uploads import Uploads
from adapters_registry.blobs import Staging
from adapters_registry.edge.origins import Origins
from adapters_registry.feed import Feed
from adapters_registry.keys import Keys
from adapters_registry.manifest import NAME_PATTERN
from adapters_registry.records import AliasRecord
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits


class Plane:
    """One registry, as it is served."""

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
        """Whose pages may ask."""
        self.uploads = Uploads(
            registry.blobs, staging, limits, registry.uploaded, registry.holds, registry.check_room
        )
        self.validations = asyncio.Semaphore(limits.validations)
        self.watchers = 0


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
    """A digest of a path in full."""
    return f"sha256:{sha256.removeprefix('sha256:')}"


def rendered(value: BaseModel, status: int = 200, leave_out: Collection[str] = ()) -> Response:
    return Response(value.model_dump_json(exclude=set(leave_out)), status, media_type="application/json")


async def reply(verb: Callable[[], BaseModel]) -> Response:
    """What ``verb`` gives; it runs and is rendered on a thread, since both may take long."""
    return await asyncio.to_thread(lambda: rendered(verb()))


async def reply_alias(verb: Callable[[], AliasRecord]) -> Response:
    """With the alias' generation as its ETag."""
    record = await asyncio.to_thread(verb)
    answer = rendered(record)
    answer.headers["etag"] = f'"{record.generation}"'
    return answer
