"""A gateway's calls to the other deployments over Serve handles, with translated exceptions."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

import grpc
import ray
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from service.dispatch.feed import follow
from service.dispatch.router import DIRECT
from service.errors import Overloaded, ReplicaFailed, StorageFailed
from service.feedback.port import Ask, Owner
from service.report import ReplicaReport
from service.values import Event, Failure, GenerateRequest

ABORT_S = 5.0
ENDPOINT_S = 10.0
"""Time limit of the call. After it a replica counts as dead: Ray reports nothing while its own processes are dead."""
RECORDER_RETRY_S = 2.0
RECORDER_S = 30.0
"""Time limit of a call to the recorder; without a recorder, Serve's router would hold it forever."""

T = TypeVar("T")


class ServeTransport:
    """Calls of one gateway to the engine deployment."""

    def __init__(self, engine: DeploymentHandle, base_digest: str) -> None:
        # Plain pickle suffices for requests and events; cloudpickle takes several times as long.
        self._engine = engine.options(request_serialization="pickle", response_serialization="pickle")
        self._base_digest = base_digest
        self._gateway_id = uuid.uuid4().hex

    async def run(self, request: GenerateRequest) -> Failure | None:
        digest = request.adapters.digest or self._base_digest
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
        # Not handle.broadcast: it skips dead replicas silently, and one hanging replica would delay all answers.
        with _translated():
            return await self._engine.options(session_id=DIRECT + replica_id).inspect.remote()


def owner_of_feedback(recorder: DeploymentHandle) -> Owner:
    """Calls of one gateway to the recorder deployment."""
    handle = recorder.options(request_serialization="pickle", response_serialization="pickle")

    async def call(ask: Ask[T], /) -> T | Failure:
        try:
            async with asyncio.timeout(RECORDER_S):
                return await handle.answer.remote(ask)
        except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
            raise StorageFailed(
                "the owner of the feedback log does not answer: send it again", retry_after_s=RECORDER_RETRY_S
            ) from error

    return call


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Translates exceptions of Ray: a full queue is ``Overloaded``, all others mean that the replica is lost."""
    try:
        yield
    except BackPressureError as error:
        raise Overloaded("No room in the queue; come back later.", retry_after_s=1.0) from error
    except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
        raise ReplicaFailed("The replica that ran the request went away.") from error
