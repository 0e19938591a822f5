"""A service with tenants and keys, as a test uses it; and a registry in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from adapters_registry.access import Scope, new_key
from adapters_registry.client import RegistryClient
from adapters_registry.records import NewKey, Quotas
from tests.acceptance.up import MARK, Up, eventually

HEARD_S = 10.0
"""Within it a gateway that reaches the registry knows of a key that was made or revoked."""
START_S = 60.0
"""Of a registry alone, on a machine that does much else."""
TENANT_SCOPES = (Scope.INFER, Scope.ADAPTER_READ, Scope.ADAPTER_WRITE)


@dataclass
class Registry:
    """A process of its own."""

    data: Path
    port: int
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        options = ("--data-dir", str(self.data), "--port", str(self.port))
        self.process = subprocess.Popen([sys.executable, "-m", "adapters_registry", *options], env=self.environment)
        eventually(lambda: httpx.get(f"http://127.0.0.1:{self.port}/health").is_success, START_S)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Small:
    """A service with the small base, and the registry beside it that it follows."""

    up: Up
    registry: Registry
    base: Path
    options: tuple[str, ...]

    @property
    def model(self) -> str:
        """The base's own name."""
        return self.base.name

    def start(self) -> None:
        self.up.start(*self.options)


@contextmanager
def running_small(root: Path, base: Path, **variables: str) -> Iterator[Small]:
    """Without keys at first: everybody may ask. Until the block ends, whatever runs of it then."""
    up = Up(root / "data", root / "log", variables=variables)
    text = str(new_key())
    up.variables["QUICKCHANGE_REGISTRY_KEY"] = text
    environment = {**os.environ, "QUICKCHANGE_REGISTRY_SERVICE_KEY": text, MARK: up.mark}
    registry = Registry(root / "r", up.registry_port, environment)
    options = ("--registry-url", up.registry, "--base", str(base), "--dtype", "float32", "--feedback.enabled")
    small = Small(up, registry, base, options)
    try:
        registry.start()
        small.start()
        yield small
    finally:
        registry.kill()
        up.close()


@dataclass
class Plane:
    """A service, its base's name, and an operator's key."""

    up: Up
    base: str
    operator: RegistryClient
    operator_key: str
    keys: dict[str, NewKey] = field(default_factory=dict)
    """Each tenant's."""

    def user(self, key: str) -> OpenAI:
        return OpenAI(base_url=f"{self.up.url}/v1", api_key=key, max_retries=0)

    def of(self, tenant: str) -> OpenAI:
        return self.user(self.keys[tenant].key)

    def status(self, key: str | None, path: str | None = None) -> int:
        """Of the base's description, or of ``path``."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.get(f"{self.up.url}{path or '/v1/models/' + self.base}", headers=headers, timeout=30).status_code

    def new_key(self, *scopes: Scope, tenant: str = "acme", quotas: Quotas = Quotas()) -> NewKey:
        """One that the gateway knows already."""
        made = self.operator.create_key("test", scopes, tenant=tenant, quotas=quotas)
        eventually(lambda: self.status(made.key) != 401, HEARD_S)
        return made


@contextmanager
def keyed(up: Up, base: str, folders: Mapping[str, Path] = {}) -> Iterator[Plane]:
    """From now on keys are needed: an operator has one, and each tenant, with an adapter ``own``."""
    with RegistryClient(up.registry) as nobody:
        eventually(nobody.bases)
        first = nobody.create_key("operator", [Scope.ADMIN])
    with RegistryClient(up.registry, key=first.key) as operator:
        plane = Plane(up, base, operator, first.key)
        eventually(lambda: plane.status(None) == 401, HEARD_S)
        for tenant, folder in folders.items():
            plane.keys[tenant] = made = plane.new_key(*TENANT_SCOPES, tenant=tenant)
            with RegistryClient(up.registry, key=made.key) as pusher:
                pusher.push(folder, tenant, "own")
            eventually(lambda key=made.key: plane.status(key, "/v1/models/own") == 200, HEARD_S)  # type: ignore[misc]
        yield plane


def answer(user: OpenAI, model: str) -> tuple[str, str]:
    """What is said, and by which weights."""
    raw = user.completions.with_raw_response.create(
        model=model, prompt="Once upon a time", max_tokens=8, temperature=0
    )
    return raw.parse().choices[0].text, raw.headers["x-adapter"]


def refusal(user: OpenAI, model: str) -> tuple[int, str | None, str]:
    """Status, code and message, with the model's name out of it."""
    with pytest.raises(openai.APIStatusError) as caught:
        answer(user, model)
    assert caught.value.response.headers["x-should-retry"] == "false"
    return caught.value.status_code, caught.value.code, caught.value.message.replace(model, "MODEL")


def answers(plane: Plane) -> dict[str, tuple[str, str]]:
    """Of each tenant's own adapter."""
    return {tenant: answer(plane.of(tenant), "own") for tenant in plane.keys}
