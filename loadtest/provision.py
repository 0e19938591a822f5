"""Random adapters for one run: pushed through the registry's client, known to the gateway, then removed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from adapters_registry.client import RegistryClient
from loadtest.errors import ServiceNotReached
from loadtest.scenario import Needs

KNOWN_S = 30.0


@contextmanager
def pushed(
    registry: RegistryClient, url: str, checkpoint: Path, needs: Needs, tenant: str, say: Callable[[str], None]
) -> Iterator[tuple[str, ...]]:
    """Names of new adapters in a tenant of their own, each with ``needs.versions`` versions of other weights.

    Their weights differ from run to run, so that no cache of the service's holds any of them.
    """
    from loadtest.adapters import write_random_lora  # torch: runs that push nothing do without

    names = tuple(f"{tenant}/a{at:02}" for at in range(needs.adapters))
    say(f"pushing {needs.adapters} adapters of rank {needs.rank}, {needs.versions} version(s) each")
    with ExitStack() as made, tempfile.TemporaryDirectory() as scratch:
        for at, name in enumerate(names):
            for version in range(needs.versions):
                # The tenant is new in each run and begins the seed.
                seed = int.from_bytes(f"{tenant}/{at}/{version}".encode()) % (1 << 63)
                folder = write_random_lora(checkpoint, Path(scratch) / "adapter", needs.rank, seed)
                registry.push(folder, *name.split("/"))
                if version == 0:
                    made.callback(registry.delete_adapter, *name.split("/"))
        _wait_known(url, [f"{name}@{needs.versions}" for name in names])
        yield names


def _wait_known(url: str, models: list[str]) -> None:
    deadline = time.monotonic() + KNOWN_S
    with httpx.Client(base_url=url, trust_env=False) as http:
        for model in models:
            while http.get(f"models/{model}").status_code != 200:
                if time.monotonic() > deadline:
                    raise ServiceNotReached(f"{url} did not learn of {model}: does it follow this registry?")
                time.sleep(0.1)
