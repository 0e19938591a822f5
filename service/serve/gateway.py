"""The ingress deployment: the HTTP application over a dispatcher, with Serve handles as its transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import grpc
from ray import serve
from ray.exceptions import RayError
from ray.serve._private import replica as serve_replica
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from adapters_registry.edge.bounds import bounds
from adapters_registry.edge.fresh import Fresh
from adapters_registry.edge.listener import Listener
from service.api.front import Backend
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.fleet import FLEET
from service.report import FleetReport, fleet_report
from service.serve.listener import start_http
from service.serve.recorder_client import RecorderClient
from service.serve.transports import ServeTransport, owner_of_feedback
from service.settings import Settings
from service.values import ServedBase

logger = logging.getLogger(__name__)

READY_S = 2.0
READY_GOOD_S = 1.0
"""How long an answer of the engine is reused: `/ready` needs no key and may be requested often."""
FLUSH_S = 5.0
"""How long an ending gateway waits until the recorder has stored the last response records."""

OpenHttp = Callable[[Settings, Backend], ASGIApp]
"""Builds the HTTP application (``app._open_http``); the application's lifespan owns what it opens."""


@serve.ingress()
class Gateway:
    """The Serve ingress; its HTTP application is opened once a replica reports its base."""

    async def __init__(  # type: ignore[misc]
        self, settings: Settings, engine: DeploymentHandle, open_http: OpenHttp, recorder: DeploymentHandle | None
    ) -> None:
        listener = Listener(bounds(settings.connections, settings.limits.header_bytes))
        serve_replica.start_asgi_http_server = partial(start_http, settings.host, listener)
        self._engine = engine
        served: ServedBase = await engine.describe.remote()
        self._dispatcher = Dispatcher(ServeTransport(engine, served.digest), settings.limits.route_s)
        FLEET.listen(self._dispatcher)
        self._feedback = None
        if recorder is not None:
            self._feedback = RecorderClient(owner_of_feedback(recorder), settings.feedback.queue_bytes)
        self._answering = Fresh(self._answers, READY_GOOD_S)
        backend = Backend(
            served, self._dispatcher.generate, self.ready, self._feedback, self.inspect, listener.report
        )
        self._app = open_http(settings, backend)

    async def drain(self) -> None:
        """Refuse new requests; running ones have ``dispatcher.DRAIN_S`` to finish."""
        self._dispatcher.drain()

    async def idle(self) -> None:
        """Returns once no request of this gateway runs."""
        await self._dispatcher.idle()

    async def ready(self) -> bool:
        """Whether new requests are accepted, and a replica answers and is healthy."""
        return not self._dispatcher.refusing and await self._answering.get()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                await self._engine.describe.remote()
        except (RayError, RayServeException, grpc.RpcError, TimeoutError):
            return False
        return True

    async def inspect(self) -> FleetReport:
        """The reports of the processes behind this gateway; takes a few seconds at most."""
        if self._feedback is None:
            return fleet_report(await self._dispatcher.inspect())
        asked, recorder = await asyncio.gather(self._dispatcher.inspect(), self._feedback.inspect())
        return replace(
            fleet_report(asked),
            records_kept=self._feedback.kept,
            records_dropped=self._feedback.dropped,
            recorder=recorder,
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def __del__(self) -> None:
        if hasattr(self, "_dispatcher"):
            await self._dispatcher.close()
            if self._feedback is not None:
                try:
                    async with asyncio.timeout(FLUSH_S):
                        await self._feedback.flush()
                except TimeoutError:
                    logger.warning("the recorder did not accept the last response records: they are lost")
