"""The results of ``quickchange status``, and the fields that it reads of the service's answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

UNREACHABLE = "unreachable"
"""The code of the problem that a part does not answer."""


class Held(BaseModel):
    """An adapter on a replica."""

    adapter: str
    digest: str
    state: str
    """ready, fetching, failed, quarantined, or a state of a newer service."""
    bytes: int
    leases: int | None
    """Requests that use it now. None for a tenant's key, because requests of other tenants count too."""
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
    """None for a tenant's key, and from an earlier release."""
    request_log: str | None = None
    """None also if requests are logged to a stream."""


class Ready(BaseModel):
    """``/ready``."""

    status: str


class Registry(BaseModel):
    """What the registry holds."""

    adapters: int
    versions: int
    base: str | None
    """The name of the base that pushes are checked against."""


class Problem(BaseModel):
    """The reason why a part is unknown, or a problem of it."""

    part: Literal["service", "replicas", "models", "registry", "gateway"]
    code: str
    message: str


class Status(BaseModel):
    """All results; None for a part that did not answer."""

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
