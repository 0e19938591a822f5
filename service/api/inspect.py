"""``/metrics`` and ``/v1/adapters/residency``: what the service says of itself."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.adapters.residency import Resident
from service.api.auth import Principal, principal
from service.api.front import Front
from service.metrics import exposition
from service.report import ReplicaReport


class InspectRoutes:
    """Asks the processes behind the front, renders."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def metrics(self, request: Request) -> Response:
        """One exposition of the gateway and all behind it; what does not answer in time is left out and counted."""
        fleet = await self._front.backend.inspect()
        accept = request.headers.get("accept", "")
        body, content_type = exposition(self._front.metrics, fleet, self._front.catalog.report(), accept)
        return Response(body, headers={"content-type": content_type})

    async def residency(self, request: Request) -> Response:
        """What each replica holds, of the adapters that the caller may use."""
        caller = principal(request)
        fleet = await self._front.backend.inspect()
        return JSONResponse(
            {"object": "list", "data": [_replica(id, report, caller) for id, report in fleet.replicas.items()]}
        )


def _replica(id: str, report: ReplicaReport, caller: Principal) -> dict[str, object]:
    return {
        "replica": id,
        "running": report.engine.running,
        "waiting": report.engine.waiting,
        "kv_blocks_used": report.engine.kv_blocks_used,
        "kv_blocks_total": report.engine.kv_blocks_total,
        "adapters": [_adapter(adapter) for adapter in report.adapters if caller.may_use(adapter.ref.tenant)],
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
