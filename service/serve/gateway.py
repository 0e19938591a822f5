"""The ingress deployment: the HTTP application over a dispatcher, with Serve handles as its transport."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import ray
import uvicorn
from ray import serve
from ray.exceptions import RayError
from ray.serve._private import replica as serve_replica
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from adapters_registry.edge.bounds import bounds
from adapters_registry.edge.fresh import Fresh
from adapters_registry.edge.listener import Listener
from service.api.edge import Edge
from service.api.front import Backend
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.feed import follow
from service.dispatch.fleet import FLEET
from service.dispatch.router import DIRECT
from service.errors import InvalidValue, Overloaded, ReplicaFailed, StorageFailed
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.said import FeedbackInput
from service.feedback.store import Page
from service.report import FleetReport, RecorderReport, ReplicaReport, fleet_report
from service.serve.recorder import RecorderClient
from service.settings import Settings
from service.values import Event, Failure, GenerateRequest, ServedBase

logger = logging.getLogger(__name__)

ABORT_S = 5.0
ENDPOINT_S = 10.0
"""Beyond it a replica counts as gone: its death may be noticed by nobody while Ray's own processes are dead."""
RECORDER_RETRY_S = 2.0
RECORDER_S = 30.0
"""How long a call waits for the recorder: with none alive Serve's router would keep it without end."""
READY_S = 2.0
READY_GOOD_S = 1.0
"""How long an answer of the engine is good for: who asks whether it is ready may ask often, and needs no key."""
FLUSH_S = 5.0
"""How long a gateway that ends waits for the recorder to take the last response records."""

OpenHttp = Callable[[Settings, Backend], ASGIApp]
"""Builds the HTTP application (``app._open_http``); the application's lifespan owns what it opens."""


class ServeTransport:
    """Calls of one gateway to the engine deployment."""

    def __init__(self, engine: DeploymentHandle, base_digest: str) -> None:
        # Plain pickle: requests and events are values of ours, and cloudpickle costs several times as much.
        self._engine = engine.options(request_serialization="pickle", response_serialization="pickle")
        self._base_digest = base_digest
        self._gateway_id = uuid.uuid4().hex

    async def run(self, request: GenerateRequest) -> Failure | None:
        digest = request.adapter.digest if request.adapter is not None else self._base_digest
        with _translated():
            return await self._engine.options(session_id=digest).run.remote(request, self._gateway_id)

    async def frames(self, replica_id: str) -> AsyncGenerator[list[Event]]:
        handle = self._engine.options(session_id=DIRECT + replica_id)
        with _translated():
            async with asyncio.timeout(ENDPOINT_S):
                endpoint = await handle.endpoint.remote(ray.get_runtime_context().get_node_id())
        async with contextlib.aclosing(follow(endpoint, self._gateway_id)) as frames:
            async for frame in frames:
                yield frame

    async def abort(self, replica_id: str, request_id: str) -> None:
        handle = self._engine.options(session_id=DIRECT + replica_id)
        with _translated():
            async with asyncio.timeout(ABORT_S):
                await handle.abort.remote(request_id)

    async def inspect(self, replica_id: str) -> ReplicaReport:
        # Not handle.broadcast: it skips dead replicas without a word, and one that hangs costs all their answers.
        with _translated():
            return await self._engine.options(session_id=DIRECT + replica_id).inspect.remote()


class RecorderTransport:
    """Calls of one gateway to the recorder deployment."""

    def __init__(self, recorder: DeploymentHandle) -> None:
        self._recorder = recorder.options(request_serialization="pickle", response_serialization="pickle")

    async def keep(self, records: Sequence[ResponseRecord]) -> tuple[Failure, ...]:
        async with _recorder_answers():
            return await self._recorder.keep.remote(records)

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...] | Failure:
        async with _recorder_answers():
            return await self._recorder.accept.remote(inputs, author)

    async def page(self, tenant: str, after: str, limit: int) -> Page | Failure:
        async with _recorder_answers():
            return await self._recorder.page.remote(tenant, after, limit)

    async def inspect(self) -> RecorderReport:
        async with _recorder_answers():
            return await self._recorder.inspect.remote()


@contextlib.asynccontextmanager
async def _recorder_answers() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(RECORDER_S):
            yield
    except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
        raise StorageFailed(
            "the owner of the feedback log does not answer: send it again", retry_after_s=RECORDER_RETRY_S
        ) from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Foreign exceptions end here: a full queue is ``Overloaded``, any other trouble is a lost replica."""
    try:
        yield
    except BackPressureError as error:
        raise Overloaded("No room in the queue; come back later.", retry_after_s=1.0) from error
    except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
        raise ReplicaFailed("The replica that ran the request went away.") from error


async def _start_http(
    host: str,
    listener: Listener,
    app: ASGIApp,
    options: HTTPOptions,
    *,
    event_loop: asyncio.AbstractEventLoop,
    **_: Any,
) -> tuple[asyncio.Task[None], uvicorn.Server]:
    """Serve HTTP on the direct ingress, in place of Serve's own ``start_asgi_http_server``.

    ``host`` is what the application was told: whom it lets in depends on who can reach it.

    That one has no bounds on connections, nor on headers while they arrive; it binds without SO_REUSEADDR, so that a
    start within a minute of a stop meets connections in TIME_WAIT and fails; and Serve would obey some of the
    client's headers, which ``Edge`` takes off before.
    """
    if options.host != host:
        raise InvalidValue(
            f"Serve's http_options.host is {options.host} and QUICKCHANGE_HOST is {host}: set both to the same",
            param="host",
        )
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((options.host, options.port))
    except OSError as error:
        bound.close()
        raise RuntimeError(f"cannot listen on {options.host}:{options.port}") from error  # what Serve expects
    server = uvicorn.Server(
        listener.configure(
            Edge(app),
            interface="asgi3",  # what is within is a bound method, which uvicorn takes for something older
            lifespan="off",  # Serve runs it
            access_log=False,
        )
    )
    return event_loop.create_task(server.serve(sockets=[bound])), server


@serve.ingress()
class Gateway:
    """The Serve ingress: opened once a replica can say what it serves."""

    async def __init__(  # type: ignore[misc]
        self, settings: Settings, engine: DeploymentHandle, open_http: OpenHttp, recorder: DeploymentHandle | None
    ) -> None:
        listener = Listener(bounds(settings.connections, settings.limits.header_bytes))
        serve_replica.start_asgi_http_server = partial(_start_http, settings.host, listener)
        self._engine = engine
        served: ServedBase = await engine.describe.remote()
        self._dispatcher = Dispatcher(ServeTransport(engine, served.digest), settings.limits.route_s)
        FLEET.listen(self._dispatcher)
        self._feedback = None
        if recorder is not None:
            self._feedback = RecorderClient(RecorderTransport(recorder), settings.feedback.queue_bytes)
        self._answering = Fresh(self._answers, READY_GOOD_S)
        backend = Backend(
            served, self._dispatcher.generate, self.ready, self._feedback, self.inspect, listener.report
        )
        self._app = open_http(settings, backend)

    async def drain(self) -> None:
        """Refuse new requests; the running ones have ``dispatcher.DRAIN_S`` to end."""
        self._dispatcher.drain()

    async def idle(self) -> None:
        """Returns once no request of this gateway runs."""
        await self._dispatcher.idle()

    async def ready(self) -> bool:
        """Whether new requests are taken, and a replica answers and is well."""
        return not self._dispatcher.refusing and await self._answering.get()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                await self._engine.describe.remote()
        except (RayError, RayServeException, grpc.RpcError, TimeoutError):
            return False
        return True

    async def inspect(self) -> FleetReport:
        """What the processes behind this gateway say of themselves; takes seconds at most."""
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
                    logger.warning("the recorder does not take the last response records: they are lost")
