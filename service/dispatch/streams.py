"""One stream of frames per replica of the fleet, which is reopened when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from adapters_registry.background import is_ending
from service.dispatch.attempts import Attempts
from service.dispatch.pacing import Pacing
from service.dispatch.tasks import Tasks
from service.dispatch.transport import Transport
from service.errors import QuickchangeError, ReplicaFailed
from service.values import Event

logger = logging.getLogger(__name__)

REATTACH_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses before a broken stream is reopened."""


class Streams:
    """Passes each event to its attempt."""

    def __init__(self, transport: Transport, attempts: Attempts, tasks: Tasks) -> None:
        self._transport = transport
        self._attempts = attempts
        self._tasks = tasks
        self._pacing = Pacing(attempts)
        self._streams: dict[str, asyncio.Task[None]] = {}
        self.fleet: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._streams)

    def fleet_is(self, replicas: frozenset[str]) -> None:
        """Follow new replicas; close the streams of removed ones once no request of this gateway runs there."""
        self.fleet = replicas
        for replica_id in replicas - self._streams.keys():
            self._streams[replica_id] = self._tasks.start(self._follow(replica_id))
        for replica_id in self._streams.keys() - replicas:
            self.retire(replica_id)

    def retire(self, replica_id: str) -> None:
        """Close the stream of a removed replica once no request of this gateway runs there."""
        if not any(self._attempts.on(replica_id)) and (stream := self._streams.pop(replica_id, None)):
            stream.cancel()

    async def _follow(self, replica_id: str) -> None:
        """Keep one stream of frames open while the fleet has the replica."""
        tries = 0
        while True:
            try:
                async with contextlib.aclosing(self._transport.frames(replica_id)) as frames:
                    async for frame in frames:
                        tries = 0
                        self._on_frame(frame, replica_id)
                logger.info("event stream ended", extra={"replica": replica_id})
            except QuickchangeError as error:
                logger.warning("event stream broke: %s", error, extra={"replica": replica_id})
            except Exception:
                # After a defect, fail the requests that run there and reopen the stream.
                if is_ending():
                    raise
                logger.exception("event stream broke", extra={"replica": replica_id})
            # Frames of a broken stream are lost, so its requests cannot be completed.
            for attempt in self._attempts.on(replica_id):
                attempt.fail(ReplicaFailed("The replica that ran the request went away."))
            if replica_id not in self.fleet:
                self._streams.pop(replica_id, None)
                return
            await asyncio.sleep(REATTACH_S[min(tries, len(REATTACH_S) - 1)])
            tries += 1

    def _on_frame(self, frame: list[Event], replica_id: str) -> None:
        for event in frame:
            attempt = self._attempts.get(event.request_id)
            if attempt is None or attempt.spoiled:
                continue  # its consumer has ended, and the request is being cancelled
            attempt.replica_id = replica_id
            attempt.add(event)
            if not attempt.spoiled:
                self._pacing.added(attempt, last=event.finish is not None)
