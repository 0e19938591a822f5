"""``/metrics`` and ``/v1/adapters/residency``: what the service says of itself."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters_registry.access import Principal, Scope
from service.adapters.residency import Resident
from service.api.auth import caller_of
from service.api.front import Front
from service.errors import InsufficientScope
from service.metrics import exposition
from service.report import CatalogReport, ReplicaReport


class InspectRoutes:
    """Asks the processes behind the front, renders."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def metrics(self, request: Request) -> Response:
        """One exposition of the gateway and all behind it; what does not answer in time is left out and counted."""
        if caller_of(request.scope).principal.tenant is not None:
            raise InsufficientScope(
                f"the metrics are of all tenants: use a key for all of them, with the scope `{Scope.SCRAPE}`",
                param=str(Scope.SCRAPE),
            )
        fleet = await self._front.backend.inspect()
        accept = request.headers.get("accept", "")
        body, content_type = exposition(self._front.metrics, fleet, self._front.catalog.report(), accept)
        return Response(body, headers={"content-type": content_type})

    async def residency(self, request: Request) -> Response:
        """What each replica holds, of the adapters that the caller may use."""
        principal = caller_of(request.scope).principal
        fleet = await self._front.backend.inspect()
        replicas = [self._replica(id, report, principal) for id, report in fleet.replicas.items()]
        registry = {} if principal.tenant is not None else {"registry": _registry(self._front.catalog.report())}
        return JSONResponse({"object": "list", "data": replicas} | registry)

    def _replica(self, id: str, report: ReplicaReport, principal: Principal) -> dict[str, object]:
        may_use = self._front.catalog.may_use
        shown = [_adapter(adapter) for adapter in report.adapters if may_use(adapter.ref, principal)]
        return _load(id, report) | {"adapters": shown}


def _registry(catalog: CatalogReport) -> dict[str, object]:
    """How this gateway knows it, for those who may know of all tenants."""
    return {
        "reachable": catalog.reachable,
        "age_s": None if catalog.age_s is None else round(catalog.age_s, 3),
        "keys_lost": catalog.keys_lost,
        "restored_at": catalog.restored_at,
        "contested_keys": list(catalog.contested),
    }


def _load(id: str, report: ReplicaReport) -> dict[str, object]:
    return {
        "replica": id,
        "running": report.engine.running,
        "waiting": report.engine.waiting,
        "kv_blocks_used": report.engine.kv_blocks_used,
        "kv_blocks_total": report.engine.kv_blocks_total,
    }


def _adapter(adapter: Resident) -> dict[str, object]:
    return {
        "adapter": str(adapter.ref),
        "digest": adapter.ref.digest,
        "state": adapter.state,
        "bytes": adapter.nbytes,
        "leases": adapter.leases,
        "idle_s": round(adapter.idle_s, 3),
        "error": adapter.error,
        "retry_after_s": None if adapter.retry_after_s is None else round(adapter.retry_after_s, 3),
    }
