"""``quickchange up --examples``: pushes adapters that the registry does not have, then requests one token of each.

```
DIR/<tenant>/<name>/<n>/    version n = 1, 2, 3… as PEFT's save_pretrained wrote it
```

The bundled ones are part of the package: ``service/examples``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from adapters_registry.client import RegistryClient
from adapters_registry.errors import AdapterNotFound, BaseNotFound, RegistryError
from adapters_registry.folder import CONFIG
from adapters_registry.names import PRODUCTION, is_name, is_version
from adapters_registry.wire import bearer
from service.commands.target import api_key

LIMIT_S = 30.0
"""How long the registry may take to know the base, and the gateway to know what was pushed."""
POLL_S = 0.1
BUNDLED_FOLDER = Path(__file__).parents[1] / "examples"
"""Small adapters of the bundled base; how they were trained is in the repository's ``examples/``."""


class NoExamples(Exception):
    """The folder does not have the expected contents; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Example:
    """An adapter and the folders of its versions, first to last."""

    tenant: str
    name: str
    versions: tuple[Path, ...]

    @property
    def model(self) -> str:
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True)
class Service:
    """The service that gets the examples."""

    url: str
    """The gateway's address."""
    registry: str
    base: str
    """The name of the base that is served."""


def find_examples(root: Path) -> tuple[Example, ...]:
    """By tenant and name. Raises ``NoExamples`` for a folder without any, a bad name or a gap in the versions."""
    if not root.is_dir():
        raise NoExamples(f"{root} is not a folder")
    folders: dict[tuple[str, str], dict[int, Path]] = {}
    for config in sorted(root.glob(f"*/*/*/{CONFIG}")):
        tenant, name, number = config.parent.parts[-3:]
        if not (is_name(tenant) and is_name(name) and is_version(number)):
            raise NoExamples(f"{config.parent} is not TENANT/NAME/VERSION, such as demo/pirate/1")
        folders.setdefault((tenant, name), {})[int(number)] = config.parent
    if not folders:
        raise NoExamples(f"{root} has no adapter: expected TENANT/NAME/VERSION/{CONFIG} in it")
    for (tenant, name), versions in folders.items():
        missing = set(range(1, len(versions) + 1)) - set(versions)
        if missing:
            raise NoExamples(f"{root / tenant / name} has no version {min(missing)}: they must be 1, 2, 3 and so on")
    return tuple(
        Example(tenant, name, tuple(versions[number] for number in sorted(versions)))
        for (tenant, name), versions in sorted(folders.items())
    )


def offer(
    examples: Sequence[Example], service: Service, say: Callable[[str], None], stop: threading.Event
) -> tuple[Example, ...]:
    """Push what the registry lacks and request a token of each example; returns those that answered.

    An adapter that the registry has is not changed. A failure is reported and does not stop the others. Once ``stop``
    is set, nothing new is begun.
    """
    answering = []
    key = api_key()
    with (
        RegistryClient(service.registry, key=key) as registry,
        httpx.Client(timeout=LIMIT_S, trust_env=False, headers=bearer(key)) as http,
    ):
        for example in examples:
            if stop.is_set():
                break
            try:
                if not _is_live(example, registry):
                    _push(example, registry, service.base, stop)
                    count = len(example.versions)
                    say(f"example {example.model} pushed ({count} version{'s' * (count > 1)})")
                _ask(example, http, service.url, stop)
            except (RegistryError, OSError, _NoAnswer, httpx.TransportError) as error:
                say(f"example {example.model}: {error}")
            else:
                answering.append(example)
    return tuple(answering)


class _NoAnswer(Exception):
    """The example is not usable, or the gateway refused the request; the message gives the reason."""


def _is_live(example: Example, registry: RegistryClient) -> bool:
    """Whether the registry has it. An adapter without a live version was taken out of service and is left so."""
    try:
        known = registry.adapter(example.tenant, example.name)
    except AdapterNotFound:
        return False
    if all(alias.alias != PRODUCTION for alias in known.aliases):
        raise _NoAnswer(f"left as it is: the registry has it, but no version of it is {PRODUCTION}")
    return True


def _push(example: Example, registry: RegistryClient, base: str, stop: threading.Event) -> None:
    """Push all versions; the first becomes live, as with every push."""
    _await_base(registry, base, stop)
    for folder in example.versions:
        registry.push(folder, example.tenant, example.name, base=base)


def _await_base(registry: RegistryClient, base: str, stop: threading.Event) -> None:
    """Wait until the replica has announced its base, which may be after it answers."""
    deadline = time.monotonic() + LIMIT_S
    while all(known.name != base for known in registry.bases()):
        if time.monotonic() > deadline or stop.wait(POLL_S):
            raise BaseNotFound(f"base {base} was not announced to the registry", param="base")


def _ask(example: Example, http: httpx.Client, url: str, stop: threading.Event) -> None:
    """Request one token, as soon as the gateway knows the adapter."""
    body = {"model": example.model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 1}
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = http.post(f"{url}/v1/chat/completions", json=body)
        if answer.is_success:
            return
        retry = answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE)
        if not retry or time.monotonic() > deadline or stop.wait(POLL_S):
            raise _NoAnswer(f"{answer.status_code} {answer.text[:300]}")
