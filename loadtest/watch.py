"""Observes a running service from outside: its memory, and the number of running requests that it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from loadtest.client import Client
from loadtest.samples import Look

EVERY_S = 1.0
POLL_S = 0.1
RUNNING = "vllm:num_requests_running"

Memory = Callable[[], int]
"""Bytes of all processes of the service."""


class Watch:
    """Reads ``/metrics``, then ``/v1/adapters/residency``; figures that neither reports are None."""

    def __init__(self, client: Client, memory: Memory | None) -> None:
        self._client = client
        self._memory = memory
        self._sources: list[Callable[[], object]] = []
        self.looks: list[Look] = []

    async def follow(self) -> None:
        """Records one observation per second until cancelled."""
        while True:
            memory = await asyncio.to_thread(self._memory) if self._memory else None
            self.looks.append(Look(self._client.clock(), memory, await self.running()))
            await asyncio.sleep(EVERY_S)

    async def running(self) -> int | None:
        """Number of requests that the service computes now; None if it does not report it."""
        try:
            found = await self._by_metrics()
            return await self._by_residency() if found is None else found
        except httpx.TransportError:
            return None

    async def settled_s(self, limit_s: float) -> float | None:
        """Seconds until nothing runs; more than ``limit_s`` if requests still run then; None if unknown."""
        began_s = self._client.clock()
        while (running := await self.running()) is not None:
            waited_s = self._client.clock() - began_s
            if running == 0 or waited_s > limit_s:
                return waited_s
            await asyncio.sleep(POLL_S)
        return None

    async def _by_metrics(self) -> int | None:
        # At the root, next to /v1, where Prometheus expects it.
        answer = await self._client.http.get(self._client.http.base_url.join("/metrics"))
        if answer.status_code != 200:
            return None
        values = [
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == RUNNING
        ]
        return int(sum(values)) if values else None

    async def _by_residency(self) -> int | None:
        answer = await self._client.http.get("adapters/residency")
        if answer.status_code != 200:
            return None
        return sum(int(replica["running"]) for replica in answer.json()["data"])
