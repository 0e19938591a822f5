"""``quickchange status``: is the service well, what do its replicas hold, does the registry answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import httpx
import typer
from pydantic import BaseModel

from adapters_registry.client import RegistryClient
from adapters_registry.errors import RegistryError, RegistryUnavailable
from service.chat.remote import Model, Service, unreachable
from service.commands.output import moment, print_json, print_table, say, size
from service.commands.target import (
    JsonOption,
    KeyFileOption,
    RegistryOption,
    UrlOption,
    api_key,
    open_registry,
    service_url,
)
from service.errors import QuickchangeError

T = TypeVar("T")
UNREACHABLE = "unreachable"
"""The code of a problem with what does not answer at all."""
NONE = "-"
"""Shown for what did not answer."""


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


@dataclass(frozen=True, slots=True)
class _Service:
    """The data plane's part of it."""

    ready: Ready | Problem
    models: list[Model] | Problem
    replicas: Residency | Problem


def status(
    url: UrlOption = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Show whether the service is well, what its replicas hold, and whether the registry answers.

    Where there are API keys it takes one with infer, scrape and adapter:read. The exit code is 1 if the service is
    not ready.

    quickchange status --json
    """
    found = _look(service_url(url), registry, key_file)
    if json:
        print_json(found)
    else:
        _tell(found)
    raise typer.Exit(0 if found.ready else 1)


def _look(url: str, registry_url: str | None, key_file: Path | None) -> Status:
    with open_registry(registry_url, key_file) as client:
        registry, registry_url = _registry(client), client.url
    service = asyncio.run(_service(url, api_key(key_file)))
    base = None if isinstance(service.models, Problem) else next((m.id for m in service.models if not m.parent), None)
    parts = (service.ready, service.replicas, service.models, registry)
    return Status(
        url=url,
        ready=not isinstance(service.ready, Problem),
        base=base,
        models=None if isinstance(service.models, Problem) else len(service.models),
        replicas=None if isinstance(service.replicas, Problem) else service.replicas.data,
        registry_url=registry_url,
        registry=None if isinstance(registry, Problem) else registry,
        request_log=None if isinstance(service.replicas, Problem) else service.replicas.request_log,
        problems=[
            *(part for part in parts if isinstance(part, Problem)),
            *([] if isinstance(service.replicas, Problem) else _followed(service.replicas.registry or Followed())),
        ],
    )


async def _service(url: str, key: str | None) -> _Service:
    async with Service(url, key) as service:
        return _Service(
            await _or_problem("service", service.get("/ready", Ready)),
            await _or_problem("models", service.models()),
            await _or_problem("replicas", _replicas(service)),
        )


async def _replicas(service: Service) -> Residency:
    return await service.get("/v1/adapters/residency", Residency)


def _followed(registry: Followed) -> Iterator[Problem]:
    """What the gateway has found wrong with the registry."""
    if registry.keys_lost:
        lost = "the registry has lost its API keys: restore its database, or make an admin key on its machine"
        yield Problem(part="gateway", code="keys_lost", message=f"{lost}; keys known here go on meanwhile")
    if registry.restored_at is not None:
        at = moment(datetime.fromtimestamp(registry.restored_at, UTC))
        yield Problem(
            part="gateway",
            code="registry_restored",
            message=f"the registry came back with another history at {at}, as after a restore from a backup",
        )
    if registry.contested_keys:
        ids = ", ".join(registry.contested_keys)
        yield Problem(
            part="gateway",
            code="contested_keys",
            message=f"keys that had ended work again at the registry; revoke them again (refused here): {ids}",
        )


async def _or_problem(part: Literal["service", "models", "replicas"], asked: Awaitable[T]) -> T | Problem:
    try:
        return await asked
    except QuickchangeError as error:
        return Problem(part=part, code=error.code, message=error.message)
    except httpx.TransportError as error:
        return Problem(part=part, code=UNREACHABLE, message=unreachable(error))


def _registry(client: RegistryClient) -> Registry | Problem:
    try:
        adapters = list(client.adapters())
        bases = client.bases()
        served = sorted({base.name for base in bases if base.served or base.latest})
    except RegistryError as error:
        code = UNREACHABLE if isinstance(error, RegistryUnavailable) else error.code
        return Problem(part="registry", code=code, message=error.message)
    return Registry(
        adapters=len(adapters), versions=sum(len(a.versions) for a in adapters), base=", ".join(served) or None
    )


def _tell(found: Status) -> None:
    registry = found.registry
    print_table(
        ("PART", "WHERE", "STATE", "HOLDS"),
        [
            ("service", found.url, "ready" if found.ready else "not ready", _holds(found)),
            (
                "registry",
                found.registry_url,
                _reachable(found),
                f"{registry.adapters} adapters, {registry.versions} versions, base {registry.base or NONE}"
                if registry
                else NONE,
            ),
        ],
    )
    say("")
    print_table(
        ("REPLICA", "RUNNING", "WAITING", "KV BLOCKS", "ADAPTERS", "BYTES"),
        map(_row, found.replicas) if found.replicas is not None else [(NONE,) * 6],
    )
    held = [(replica.replica, adapter) for replica in found.replicas or [] for adapter in replica.adapters]
    if held:
        say("")
        print_table(
            ("ADAPTER", "REPLICA", "STATE", "IN USE BY", "IDLE", "SIZE", "ERROR"),
            [_held(replica, adapter) for replica, adapter in held],
        )
    if found.request_log is not None:
        say("")
        say(f"requests are logged in {found.request_log}")
    # What ails the whole service ails its parts: told once.
    for message, parts in _by_message(found.problems).items():
        say(f"{', '.join(parts)}: {message}")


def _reachable(found: Status) -> str:
    if any((problem.part, problem.code) == ("registry", UNREACHABLE) for problem in found.problems):
        return "not reachable"
    return "reachable" if found.registry else "refuses"


def _by_message(problems: list[Problem]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for problem in problems:
        parts.setdefault(problem.message, []).append(problem.part)
    return parts


def _holds(found: Status) -> str:
    return NONE if found.models is None else f"base {found.base or NONE}, {found.models} models"


def _row(replica: Replica) -> tuple[str, ...]:
    states = Counter(adapter.state for adapter in replica.adapters)
    return (
        replica.replica,
        _count(replica.running),
        _count(replica.waiting),
        _blocks(replica),
        ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or NONE,
        size(sum(adapter.bytes for adapter in replica.adapters)),
    )


def _blocks(replica: Replica) -> str:
    used, total = replica.kv_blocks_used, replica.kv_blocks_total
    if used is None or total is None:
        return NONE
    return f"{used} of {total} ({used / total if total else 0.0:.0%})"


def _count(number: int | None) -> str:
    return NONE if number is None else str(number)


def _held(replica: str, adapter: Held) -> tuple[str, ...]:
    retry = "" if adapter.retry_after_s is None else f", again in {adapter.retry_after_s:.0f} s"
    return (
        adapter.adapter,
        replica,
        adapter.state,
        _count(adapter.leases),
        NONE if adapter.leases or adapter.idle_s is None else f"{adapter.idle_s:.0f} s",
        size(adapter.bytes),
        f"{adapter.error}{retry}" if adapter.error else NONE,
    )
