"""A service with tenants and keys, and a registry of its own beside it, as a test uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from service.settings import BUNDLED_BASE
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


@dataclass
class Plane:
    """A registry, a service that follows it, and an operator's key."""

    up: Up
    registry: Registry
    operator: RegistryClient
    operator_key: str
    keys: dict[str, NewKey] = field(default_factory=dict)
    """Each tenant's."""

    def user(self, key: str) -> OpenAI:
        return OpenAI(base_url=f"{self.up.url}/v1", api_key=key, max_retries=0)

    def of(self, tenant: str) -> OpenAI:
        return self.user(self.keys[tenant].key)

    def new_key(self, *scopes: Scope, tenant: str = "acme", quotas: Quotas = Quotas()) -> NewKey:
        """One that the gateway knows already."""
        made = self.operator.create_key("test", scopes, tenant=tenant, quotas=quotas)
        eventually(lambda: status(self, made.key) != 401, HEARD_S)
        return made


def status(plane: Plane, key: str | None, path: str = "/v1/models/" + BUNDLED_BASE) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.get(f"{plane.up.url}{path}", headers=headers, timeout=30).status_code


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


@contextmanager
def plane_with_keys(root: Path, folders: Sequence[Path], *options: str) -> Iterator[Plane]:
    """Without keys at first: everybody may ask. Then an operator's key, and two tenants with an adapter each."""
    up = Up(root / "data", root / "log")
    text = str(new_key())
    up.variables["QUICKCHANGE_REGISTRY_KEY"] = text
    environment = {**os.environ, "QUICKCHANGE_REGISTRY_SERVICE_KEY": text, MARK: up.mark}
    registry = Registry(root / "r", up.registry_port, environment)
    try:
        registry.start()
        up.start("--registry-url", up.registry, *options)
        with RegistryClient(up.registry) as nobody:
            eventually(nobody.bases)
            first = nobody.create_key("operator", [Scope.ADMIN])
        with RegistryClient(up.registry, key=first.key) as operator:
            plane = Plane(up, registry, operator, first.key)
            eventually(lambda: status(plane, None) == 401, HEARD_S)
            for tenant, folder in zip(("acme", "globex"), folders, strict=False):
                plane.keys[tenant] = plane.new_key(*TENANT_SCOPES, tenant=tenant)
                with RegistryClient(up.registry, key=plane.keys[tenant].key) as pusher:
                    pusher.push(folder, tenant, "own")
                key = plane.keys[tenant].key
                eventually(lambda key=key: status(plane, key, "/v1/models/own") == 200, HEARD_S)  # type: ignore[misc]
            yield plane
    finally:
        registry.kill()
        for process in up.processes():
            process.kill()
