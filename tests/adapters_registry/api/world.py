"""A registry with two tenants, one of each sort of key, and a request for every route."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from adapters_registry.access import Scope
from adapters_registry.api.auth import Requirement, owners
from adapters_registry.api.bodies import CommitBody, JsonBody
from adapters_registry.api.parts import PARTIAL_TYPE
from adapters_registry.api.plane import Plane
from adapters_registry.keys import Keys
from adapters_registry.records import NewKey, Published
from tests.adapters_registry import artifacts

TENANT_SCOPES = tuple(scope for scope in Scope if scope is not Scope.SERVE)
BASE = artifacts.base("second", "2")
JSON: dict[str, Any] = {
    "EvaluationBody": {"passed": True, "metrics": {"accuracy": 0.5}},
    "AliasBody": {"version": 1},
    "ProtectionBody": {"protected": True},
    "KeyBody": {"name": "made", "scopes": ["infer"]},
    "RotationBody": {"overlap_s": 60},
    "TenantBounds": {"max_versions": 10},
    "CollectBody": {"dry_run": True},
    "BaseManifest": BASE.model_dump(),
}
"""A good body of each sort; a route with another one is to be given one here."""


def plane_of(app: FastAPI) -> Plane:
    plane = app.state.plane
    assert isinstance(plane, Plane)
    return plane


def bearer(key: NewKey) -> dict[str, str]:
    return {"authorization": f"Bearer {key.key}"}


@dataclass(frozen=True)
class Names:
    """What stands in paths. All sets have the same lengths, so that answers can be compared."""

    tenant: str
    name: str
    version: str
    """A digest."""
    data: bytes
    """Of a file."""
    key: str
    alias: str = "production"
    number: str = "1"
    evaluation: str = "quality"
    grantee: str = "initech"

    def path(self, route: APIRoute) -> str:
        if "{id}" in route.path:
            return route.path.replace("{id}", self.key)
        if "versions/{sha256}" in route.path:
            return route.path.replace("{sha256}", self.version)
        if "bases/{sha256}" in route.path:
            return route.path.replace("{sha256}", BASE.digest)
        path = route.path.replace("{sha256}", artifacts.sha256(self.data))
        for part in ("tenant", "name", "alias", "number", "evaluation", "grantee"):
            path = path.replace("{" + part + "}", getattr(self, part))
        assert "{" not in path, f"{route.path} has a new parameter"
        return path

    def stripped(self, text: str) -> str:
        """``text`` without what names one of these."""
        for said in (self.version, artifacts.sha256(self.data), self.key, f"{self.tenant}/{self.name}", self.tenant):
            text = text.replace(said, "?")
        return text


def every(app: FastAPI) -> Iterator[tuple[str, APIRoute]]:
    """Each method of each route that the application answers."""
    for route in app.routes:
        assert isinstance(route, APIRoute)
        for method in sorted(route.methods or ()):
            yield method, route


def door(route: APIRoute) -> Requirement | None:
    """None if it is open."""
    first = next(owners(route))
    return first if isinstance(first, Requirement) else None


def content(method: str, route: APIRoute, names: Names, files: list[dict[str, Any]]) -> dict[str, Any]:
    """A good body, as httpx takes it."""
    if "uploads" in route.path and method in ("PUT", "PATCH"):
        headers = {"upload-offset": "0", "upload-complete": "?1"}
        return {"content": names.data, "headers": headers | {"content-type": PARTIAL_TYPE}}
    body = next((owner for owner in owners(route) if isinstance(owner, JsonBody)), None)
    if body is None:
        return {"params": {"since": 0}} if route.path == "/v1/changes" else {}
    return {"json": {"files": files} if body.model is CommitBody else JSON[body.model.__name__]}


@dataclass(frozen=True)
class World:
    """acme has ``support`` with a version; globex has nothing."""

    keys: Keys
    published: Published
    files: list[dict[str, Any]]
    operator: NewKey
    there: Names
    """acme's."""
    nowhere: Names
    """Nobody's."""


def make(keys: Keys, published: Published, config: bytes, files: list[dict[str, Any]]) -> World:
    operator = keys.create(None, "operator", [Scope.ADMIN])
    acme = keys.create("acme", "acme's", [Scope.ADAPTER_READ])
    there = Names("acme", "support", published.record.digest, config, acme.record.id)
    nowhere = Names("nope", "nothing", artifacts.sha256(b"no version"), bytes(len(config)), "a" * 12)
    return World(keys, published, files, operator, there, nowhere)
