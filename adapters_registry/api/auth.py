"""Each route's authorization check: admits keys that have one of the route's scopes.

Other tenants' resources return the same 404 as missing ones. Where only the owner has access, the check returns this
404 before anything is looked up. Where the owner may have shared the resource, the one query that looks it up leaves
out what the caller may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from adapters_registry.access import ANONYMOUS, Principal, Scope
from adapters_registry.api.parts import PARTIAL_TYPE
from adapters_registry.api.plane import plane_of
from adapters_registry.edge.trust import RequestHead, keyless_refusal
from adapters_registry.errors import (
    AdapterNotFound,
    InsufficientScope,
    KeylessRefused,
    RegistryError,
    TenantNotFound,
    UnknownParameter,
)

BODY_TYPES = frozenset({b"application/json", b"application/octet-stream", PARTIAL_TYPE.encode()})
"""Content types that a body may have without a key: for all of these, browsers send a preflight first."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a route requires of a key."""

    scopes: frozenset[Scope]
    """The key must have at least one of them."""
    everywhere: bool = False
    """Admits only keys without a tenant."""
    shared: bool = False
    """Admits keys of other tenants; the handler checks that the path's tenant shared the resource with them."""

    async def admit(self, request: Request) -> Principal:
        """The caller. ``InvalidKey``, ``KeylessRefused``, ``InsufficientScope``, or the 404 of a missing one."""
        plane = plane_of(request)
        by = await asyncio.to_thread(plane.keys.authenticate, _authorization(request))
        if by is ANONYMOUS:
            head = RequestHead(request.scope["method"], request.scope["headers"])
            why = keyless_refusal(head, BODY_TYPES, plane.origins)
            if why is not None:
                raise KeylessRefused(why)
        foreign = self._foreign(by, request.path_params)
        if foreign is not None:
            raise foreign
        if not any(by.may(scope) for scope in self.scopes):
            names = " or ".join(sorted(self.scopes))
            raise InsufficientScope(f"This key lacks the scope {names}: use one that has it.", param=names)
        if self.everywhere and by.tenant is not None:
            raise InsufficientScope("Only a key of no tenant may do this: this one has a tenant.", param="tenant")
        _check_query(request)
        return by

    def _foreign(self, by: Principal, path: Mapping[str, Any]) -> RegistryError | None:
        tenant = path.get("tenant")
        if tenant is None or self.shared or by.acts_for(tenant):
            return None
        return no_adapter(tenant, path["name"]) if "name" in path else no_tenant(tenant)


class Open:
    """A route without authorization, which must be declared explicitly."""

    async def admit(self) -> None:
        """No key is required."""


OPEN = Depends(Open().admit)


def needs(*scopes: Scope, everywhere: bool = False, shared: bool = False) -> Any:
    """The dependency that checks a handler's requirement and returns the principal."""
    return Depends(Requirement(frozenset(scopes), everywhere, shared).admit)


Reader = Annotated[Principal, needs(Scope.ADAPTER_READ, shared=True)]
Server = Annotated[Principal, needs(Scope.SERVE, everywhere=True)]
ReaderOrServer = Annotated[Principal, needs(Scope.ADAPTER_READ, Scope.SERVE)]
Writer = Annotated[Principal, needs(Scope.ADAPTER_WRITE)]
Mover = Annotated[Principal, needs(Scope.ADAPTER_WRITE, Scope.ALIAS_WRITE)]
Protector = Annotated[Principal, needs(Scope.ALIAS_WRITE)]
Admin = Annotated[Principal, needs(Scope.ADMIN)]
Operator = Annotated[Principal, needs(Scope.ADMIN, everywhere=True)]


def check_requirements(routes: Iterable[BaseRoute]) -> None:
    """Default-deny: ``TypeError`` for any route whose first dependency is neither a ``Requirement`` nor ``OPEN``."""
    for route in routes:
        first = next(owners(route), None) if isinstance(route, APIRoute) else None
        if not isinstance(first, Requirement | Open):
            raise TypeError(f"{route} declares neither the scope that it needs nor OPEN")


def owners(route: APIRoute) -> Iterator[Any]:
    """The objects whose methods ``route`` depends on, in the order of the calls."""
    return (call.__self__ for call in _calls(route.dependant) if hasattr(call, "__self__"))


def no_adapter(tenant: str, name: str) -> AdapterNotFound:
    return AdapterNotFound(f"No adapter {tenant}/{name}.", param="name")


def no_tenant(tenant: str) -> TenantNotFound:
    return TenantNotFound(f"No tenant {tenant}.", param="tenant")


def _calls(dependant: Dependant) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


def _check_query(request: Request) -> None:
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = set(_query_names(route.dependant))
    for name in request.query_params:
        if name not in known:
            raise UnknownParameter(f"Unknown parameter {name}.", param=name)


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _authorization(request: Request) -> str | None:
    """The only ``Authorization`` header; with two, it is unclear which is meant."""
    given = request.headers.getlist("authorization")
    return given[0] if len(given) == 1 else None
