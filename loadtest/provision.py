"""Random adapters for one run: pushed by the registry's client, removed afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from adapters_registry.access import Scope
from adapters_registry.client import RegistryClient
from loadtest.errors import ServiceNotReached
from loadtest.run import Service
from loadtest.scenario import Cast, Needs

KNOWN_S = 30.0
HUGE = 1e30
"""Strength of weights that are finite but whose products overflow."""


@contextmanager
def pushed(
    registry: RegistryClient,
    url: str,
    checkpoint: Path,
    needs: Needs,
    tenant: str,
    say: Callable[[str], None],
    key: str | None = None,
    strength: float = 0.01,
) -> Iterator[tuple[str, ...]]:
    """Names of new adapters in a new tenant, each with ``needs.versions`` versions of different weights.

    Weights differ from run to run, so that no cache of the service contains them.
    """
    from loadtest.adapters import write_random_lora  # imports torch, which runs that push nothing do not need

    names = tuple(f"{tenant}/a{at:02}" for at in range(needs.adapters))
    say(f"pushing {needs.adapters} adapters of rank {needs.rank}, {needs.versions} version(s) each")
    with ExitStack() as made, tempfile.TemporaryDirectory() as scratch:
        for at, name in enumerate(names):
            for version in range(needs.versions):
                # The tenant is new in each run and part of the seed.
                seed = int.from_bytes(f"{tenant}/{at}/{version}".encode()) % (1 << 63)
                folder = write_random_lora(checkpoint, Path(scratch) / "adapter", needs.rank, seed, strength)
                registry.push(folder, *name.split("/"))
                if version == 0:
                    made.callback(registry.delete_adapter, *name.split("/"))
        _wait_known(url, [f"{name}@{needs.versions}" for name in names], key)
        yield names


@contextmanager
def rivals(
    service: Service, checkpoint: Path, needs: Needs, cast: Cast, name: str, say: Callable[[str], None]
) -> Iterator[tuple[Service, Cast]]:
    """Two tenants with keys: one with ordinary adapters, one with huge weights. The service then requires keys."""
    assert service.registry is not None, "checked before"
    assert service.registry_url is not None
    tenants = (f"{name}-victim", f"{name}-rival")
    operator_key = service.registry.create_key("operator", [Scope.ADMIN]).key
    with RegistryClient(service.registry_url, key=operator_key) as operator:
        scopes = [Scope.INFER, Scope.FEEDBACK_WRITE, Scope.ADAPTER_READ, Scope.ADAPTER_WRITE]
        keys = {tenant: operator.create_key(tenant, scopes, tenant=tenant).key for tenant in tenants}
        huge = replace(needs, adapters=needs.huge)
        with (
            pushed(operator, service.url, checkpoint, needs, tenants[0], say, operator_key) as adapters,
            pushed(operator, service.url, checkpoint, huge, tenants[1], say, operator_key, HUGE) as of_rival,
        ):
            yield (
                replace(service, key=operator_key, registry=operator, keys=keys),
                replace(cast, adapters=adapters, tenants=tenants, huge=of_rival),
            )


def _wait_known(url: str, models: list[str], key: str | None) -> None:
    deadline = time.monotonic() + KNOWN_S
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as http:
        for model in models:
            while http.get(f"models/{model}").status_code != 200:
                if time.monotonic() > deadline:
                    raise ServiceNotReached(f"{url} did not learn of {model}: does it follow this registry?")
                time.sleep(0.1)
