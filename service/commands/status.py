"""``quickchange status``: whether the service is ready, what its replicas hold, whether the registry answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import httpx
import typer

from adapters_registry.client import RegistryClient
from adapters_registry.errors import RegistryError, RegistryUnavailable
from service.chat.remote import Model, Service, unreachable
from service.commands.output import moment, print_json
from service.commands.status_tables import print_status
from service.commands.status_values import UNREACHABLE, Followed, Problem, Ready, Registry, Residency, Status
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


@dataclass(frozen=True, slots=True)
class _Service:
    """The part that the gateway answers."""

    ready: Ready | Problem
    models: list[Model] | Problem
    replicas: Residency | Problem


def status(
    url: UrlOption = None,
    json: JsonOption = False,
    registry: RegistryOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Show whether the service is ready, what its replicas hold, and whether the registry answers.

    If API keys exist, the key needs the scopes infer, scrape and adapter:read. The exit code is 1 if the service is
    not ready.

    quickchange status --json
    """
    found = _look(service_url(url), registry, key_file)
    if json:
        print_json(found)
    else:
        print_status(found)
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
            *([] if isinstance(service.replicas, Problem) else _reported(service.replicas)),
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


def _reported(residency: Residency) -> Iterator[Problem]:
    """What the gateway and the replicas report of themselves."""
    yield from _followed(residency.registry or Followed())
    for reason in sorted({replica.fallback for replica in residency.data if replica.fallback is not None}):
        yield Problem(part="replicas", code="native_unavailable", message=reason)


def _followed(registry: Followed) -> Iterator[Problem]:
    """Problems of the registry that the gateway has detected."""
    if registry.keys_lost:
        lost = "the registry has lost its API keys: restore its database, or create an admin key on its machine"
        yield Problem(part="gateway", code="keys_lost", message=f"{lost}; keys known here stay valid meanwhile")
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
