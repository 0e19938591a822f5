"""What ``quickchange status`` finds out, and what it reads of the service's answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

UNREACHABLE = "unreachable"
"""The code of a problem with what does not answer at all."""


class Held(BaseModel):
    """An adapter on a replica."""

    adapter: str
    digest: str
    state: str
    """ready, fetching, failed, quarantined, or what a newer service knows."""
    bytes: int
    leases: int | None
    """Requests that use it now; None, as all that others add to, for a tenant's key."""
    idle_s: float | None
    error: str | None = None
    retry_after_s: float | None = None


class Replica(BaseModel):
    """One entry of ``/v1/adapters/residency``."""

    replica: str
    backend: str | None = None
    """How it computes; None for a tenant's key, and of an earlier release."""
    fallback: str | None = None
    """Why the native kernels do not compute although they may; None where they do."""
    running: int | None
    waiting: int | None
    kv_blocks_used: int | None
    kv_blocks_total: int | None
    adapters: list[Held]


class Followed(BaseModel):
    """The registry, as the gateway knows it."""

    keys_lost: bool = False
    restored_at: float | None = None
    """Unix time at which it came back with another history."""
    contested_keys: list[str] = []


class Residency(BaseModel):
    """``/v1/adapters/residency``."""

    data: list[Replica]
    registry: Followed | None = None
    """None for a tenant's key, and of an earlier release."""
    request_log: str | None = None
    """None too where requests are logged to a stream."""


class Ready(BaseModel):
    """``/ready``."""

    status: str


class Registry(BaseModel):
    """What the registry holds."""

    adapters: int
    versions: int
    base: str | None
    """The one that pushes are checked against, by name."""


class Problem(BaseModel):
    """Why a part is not known."""

    part: Literal["service", "replicas", "models", "registry", "gateway"]
    code: str
    message: str


class Status(BaseModel):
    """Everything that was found out; None is what did not answer."""

    url: str
    ready: bool
    base: str | None
    models: int | None
    replicas: list[Replica] | None
    registry_url: str
    registry: Registry | None
    request_log: str | None
    """Where on its machine the service logs requests."""
    problems: list[Problem]
