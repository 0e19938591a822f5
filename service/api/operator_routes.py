"""``/metrics`` and ``/v1/adapters/residency``: the state of the service."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters_registry.access import Principal, Scope
from service.adapters.residency import Resident
from service.api.auth import caller_of
from service.api.front import Front
from service.errors import InsufficientScope
from service.metrics import exposition
from service.report import CatalogReport, ReplicaReport
from service.support.logs import request_log
from service.values import AdapterRef


class OperatorRoutes:
    """Queries the processes behind the front, renders their reports."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def metrics(self, request: Request) -> Response:
        """Metrics of the gateway and of all processes behind it; those that do not answer in time are counted."""
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
        """The adapters of each replica. A tenant's key gets only adapters that it may use, and no figures that other
        tenants contribute to, such as load and leases."""
        principal = caller_of(request.scope).principal
        fleet = await self._front.backend.inspect()
        replicas = [self._replica(id, report, principal) for id, report in fleet.replicas.items()]
        return JSONResponse(
            {"object": "list", "data": replicas} | ({} if principal.tenant is not None else self._all())
        )

    def _all(self) -> dict[str, object]:
        """Additional fields for keys of all tenants."""
        log = request_log(self._front.settings.logs)
        return {
            "registry": _registry(self._front.catalog.report()),
            "request_log": None if log is None else str(log),
        }

    def _replica(self, id: str, report: ReplicaReport, principal: Principal) -> dict[str, object]:
        if principal.tenant is None:
            return _load(id, report) | {"adapters": [_adapter(adapter) for adapter in report.adapters]}
        names = self._front.catalog.names_of((adapter.ref.digest for adapter in report.adapters), principal)
        shown = [
            _adapter(replace(adapter, ref=ref))
            for adapter in report.adapters
            for ref in names[adapter.ref.digest] or self._named(adapter.ref, principal)
        ]
        return dict.fromkeys(_load(id, report)) | {"replica": id, "adapters": [entry | _OTHERS for entry in shown]}

    def _named(self, ref: AdapterRef, principal: Principal) -> list[AdapterRef]:
        """``ref`` of a deleted version, if the caller may use its adapter."""
        return [ref] if self._front.catalog.may_use(ref, principal) else []


_OTHERS = {"leases": None, "idle_s": None}
"""Fields hidden from tenants, because other tenants may use the same bytes or the same adapter."""


def _registry(catalog: CatalogReport) -> dict[str, object]:
    """The registry as this gateway knows it."""
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
        "backend": report.engine.backend,
        "fallback": report.engine.fallback,
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
