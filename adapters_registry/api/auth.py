"""Each route's door: lets in whoever has a key with a scope that the route takes.

Foreign is unknown: a key of one tenant gets for what is another's the very 404 that it gets for what is not there.
Where only the owner may come in it gets it before anything was looked up; where the owner may have shared, the one
query that finds what is there leaves out what is not for it.
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
from adapters_registry.edge.trust import Asked, keyless_refusal
from adapters_registry.errors import (
    AdapterNotFound,
    InsufficientScope,
    KeylessRefused,
    RegistryError,
    TenantNotFound,
    UnknownParameter,
)

BODY_TYPES = frozenset({b"application/json", b"application/octet-stream", PARTIAL_TYPE.encode()})
"""What a body may be without a key: a page's browser asks before it sends these elsewhere."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a route takes."""

    scopes: frozenset[Scope]
    """Any of them will do."""
    everywhere: bool = False
    """Only for keys of no tenant."""
    shared: bool = False
    """Lets in to the path's tenant whoever it might have shared with; the handler looks."""

    async def admit(self, request: Request) -> Principal:
        """Who it is; ``InvalidKey``, ``KeylessRefused``, ``InsufficientScope``, or another tenant's 404."""
        plane = plane_of(request)
        by = await asyncio.to_thread(plane.keys.authenticate, _authorization(request))
        if by is ANONYMOUS:
            asked = Asked(request.scope["method"], request.scope["headers"])
            why = keyless_refusal(asked, BODY_TYPES, plane.origins)
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
    """A route for everybody: said, never left out."""

    async def admit(self) -> None:
        """No key is asked for."""


OPEN = Depends(Open().admit)


def needs(*scopes: Scope, everywhere: bool = False, shared: bool = False) -> Any:
    """The dependency that is a handler's door, and gives the principal."""
    return Depends(Door(frozenset(scopes), everywhere, shared).admit)


Reader = Annotated[Principal, needs(Scope.ADAPTER_READ, shared=True)]
Server = Annotated[Principal, needs(Scope.SERVE, everywhere=True)]
ReaderOrServer = Annotated[Principal, needs(Scope.ADAPTER_READ, Scope.SERVE)]
Writer = Annotated[Principal, needs(Scope.ADAPTER_WRITE)]
Mover = Annotated[Principal, needs(Scope.ADAPTER_WRITE, Scope.ALIAS_WRITE)]
Protector = Annotated[Principal, needs(Scope.ALIAS_WRITE)]
Admin = Annotated[Principal, needs(Scope.ADMIN)]
Operator = Annotated[Principal, needs(Scope.ADMIN, everywhere=True)]


def check_doors(routes: Iterable[BaseRoute]) -> None:
    """Default-deny: a ``TypeError`` for any route that does not begin with a door, or says that it is open."""
    for route in routes:
        first = next(owners(route), None) if isinstance(route, APIRoute) else None
        if not isinstance(first, Door | Open):
            raise TypeError(f"{route} declares neither the scope that it needs nor OPEN")


def owners(route: APIRoute) -> Iterator[Any]:
    """Whose methods ``route`` depends on, in the order of their calls."""
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
    """The one header; of two nobody can say which is meant."""
    given = request.headers.getlist("authorization")
    return given[0] if len(given) == 1 else None
