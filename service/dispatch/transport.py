"""The protocol of the transport to replicas: calls, and one stream of frames per replica."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from service.report import ReplicaReport
from service.values import Event, Failure, GenerateRequest


class Transport(Protocol):
    """Calls to replicas. Raises only ``QuickchangeError``; ``ReplicaFailed`` means that the replica has ended."""

    async def run(self, request: GenerateRequest) -> Failure | None: ...

    def frames(self, replica_id: str) -> AsyncGenerator[list[Event]]: ...

    async def abort(self, replica_id: str, request_id: str) -> None: ...

    async def inspect(self, replica_id: str) -> ReplicaReport: ...
