"""The engine deployment: an ``EngineHost`` behind Serve's calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ray

from adapters_registry.background import in_background
from service.dispatch.feed import Endpoint
from service.report import ReplicaReport
from service.serve.engine_host import EngineHost
from service.serve.parts import Parts
from service.settings import Settings
from service.support.threads import in_ending_thread
from service.values import Failure, GenerateRequest, ServedBase


class EngineReplica:
    """The Serve deployment: only an ``EngineHost`` over the parts from ``open_parts``."""

    async def __init__(self, settings: Settings, open_parts: Callable[[Settings], Parts]) -> None:  # type: ignore[misc]
        parts = await in_ending_thread(partial(open_parts, settings), "load")
        self._host = EngineHost(parts)
        self._announcing = in_background(parts.announce, "announcing the base")

    async def run(self, request: GenerateRequest, gateway_id: str) -> Failure | None:
        return await self._host.run(request, gateway_id)

    async def endpoint(self, node_id: str) -> Endpoint:
        """The endpoint from which a gateway on the Ray node ``node_id`` reads its events."""
        if node_id == ray.get_runtime_context().get_node_id():
            return self._host.feeds.here()
        return self._host.feeds.at(ray.util.get_node_ip_address())

    async def abort(self, request_id: str) -> None:
        self._host.abort(request_id)

    async def inspect(self) -> ReplicaReport:
        return self._host.inspect()

    async def describe(self) -> ServedBase:
        """The served base. Raises if the engine is not healthy."""
        self._host.check_health()
        return self._host.served

    async def check_health(self) -> None:
        self._host.check_health()

    async def __del__(self) -> None:
        # Serve awaits this after requests have drained.
        if hasattr(self, "_host"):
            self._announcing.cancel()
            await self._host.stop()
