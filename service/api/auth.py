"""Authorization per route: requests need a key with the scope of the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from adapters_registry.access import ANONYMOUS, Scope
from adapters_registry.edge.origins import Origins
from adapters_registry.edge.trust import RequestHead, keyless_refusal
from service.access.catalog import Catalog
from service.access.keyring import Caller
from service.api.exchange import exchange_of
from service.errors import InsufficientScope, KeylessRefused
from service.settings import KeyOptions

OPEN = None
"""For routes without authorization, which must declare it."""

BODY_TYPES = frozenset({b"application/json"})
"""Content types that a body may have without a key: for these, browsers send a preflight first."""


class Gate:
    """Authenticates requests, depending on the age of the known keys."""

    def __init__(
        self, catalog: Catalog, options: KeyOptions, origins: Sequence[str] = (), *, anonymous: bool
    ) -> None:
        """``anonymous``: accept programs of this machine, and pages of ``origins``, while no key exists."""
        self._catalog = catalog
        self._origins = Origins.of(origins)
        self._max_staleness_s = options.max_staleness_s
        self._anonymous = anonymous

    def admit(self, connection: Connection, needs: Scope) -> Caller:
        """Raises what ``Keyring.admit`` raises, ``KeylessRefused`` or ``InsufficientScope``."""
        authorization = _authorization(connection)
        stale = self._max_staleness_s is not None and self._catalog.silent_s() > self._max_staleness_s
        caller = self._catalog.keys.admit(authorization, datetime.now(UTC), stale=stale, anonymous=self._anonymous)
        if caller.principal is ANONYMOUS:
            head = RequestHead(connection["method"], connection["headers"])
            refusal = keyless_refusal(head, BODY_TYPES, self._origins)
            if refusal is not None:
                raise KeylessRefused(refusal)
        if not caller.principal.may(needs):
            raise InsufficientScope(f"this key lacks the scope `{needs}`: use one that has it", param=str(needs))
        return caller


class ScopeCheck:
    """Pure ASGI around one route: authenticates the caller and checks its scope."""

    def __init__(self, app: ASGIApp, gate: Gate, needs: Scope) -> None:
        self._app = app
        self._gate = gate
        self._needs = needs

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        exchange_of(scope).caller = self._gate.admit(scope, self._needs)
        await self._app(scope, receive, send)


class Gated(Route):
    """A route with the scope that it needs, or ``OPEN``."""

    def __init__(
        self,
        gate: Gate,
        method: str,
        path: str,
        needs: Scope | None,
        handler: Callable[[Request], Awaitable[Response]] | ASGIApp,
        *around: Middleware,
    ) -> None:
        """``around`` is the middleware between the scope check and the handler."""
        check = [] if needs is OPEN else [Middleware(ScopeCheck, gate=gate, needs=needs)]
        super().__init__(path, handler, methods=[method], middleware=[*check, *around])
        self.needs = needs


def caller_of(scope: Connection) -> Caller:
    """The authenticated caller. A handler of a route without a scope has none, and fails."""
    caller = exchange_of(scope).caller
    assert caller is not None
    return caller


def _authorization(scope: Connection) -> str | None:
    """The only ``Authorization`` header; with two, it is unclear which is meant."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    return given[0].decode("latin-1") if len(given) == 1 else None
