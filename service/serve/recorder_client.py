"""A gateway's client of the feedback log's owner.

keep(record) ─► queue ─► one call at a time, with all queued records ─► owner      the request does not wait
accept, page ─► one call each ────────────────────────────────────────► owner ─► receipts, events
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from adapters_registry.background import in_background
from adapters_registry.edge.shares import Shares
from service.dispatch.tasks import Tasks
from service.errors import QuickchangeError, StorageFailed, StorageInUse, from_failure
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.port import Accept, Ask, Keep, Measure, Owner, ReadPage
from service.feedback.said import FeedbackInput
from service.feedback.store import Page
from service.report import RecorderReport
from service.values import Failure

logger = logging.getLogger(__name__)

BATCH = 256
"""Bound on response records of one call."""
INSPECT_S = 2.0
QUEUE_SHARE = 0.75
"""The share of the queue's bytes that a single tenant may use."""
RETRY_S = 0.5
TRIES = 600
"""Bound on attempts while the recorder restarts or waits for its directory; then records are dropped."""

T = TypeVar("T")


class RecorderClient:
    """The ``Feedback`` of a gateway. Belongs to one event loop."""

    def __init__(self, owner: Owner, queue_bytes: int, retry_s: float = RETRY_S) -> None:
        self._owner = owner
        self._retry_s = retry_s
        self._tasks = Tasks()
        self._waiting: deque[ResponseRecord] = deque()
        self._bytes = Shares(queue_bytes, QUEUE_SHARE)
        """Bytes of queued records, by tenant."""
        self._sender: asyncio.Task[None] | None = None
        self.kept = 0
        """Response records that are durable."""
        self.dropped = 0
        """Dropped response records, for which feedback will be refused."""

    def keep(self, record: ResponseRecord) -> None:
        nbytes = _size(record)
        if self._waiting and not self._bytes.fits(record.tenant, nbytes):
            self._drop(1, "too many wait for the recorder")
            return
        self._bytes.add(record.tenant, nbytes)
        self._waiting.append(record)
        if self._sender is None or self._sender.done():
            self._sender = in_background(self._send, "sending response records", context=contextvars.Context())

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...]:
        return await self._ask(Accept(tuple(inputs), author))

    async def page(self, tenant: str, after: str, limit: int) -> Page:
        return await self._ask(ReadPage(tenant, after, limit))

    async def inspect(self) -> RecorderReport | None:
        """The owner's report; None if it does not answer in time."""
        try:
            async with asyncio.timeout(INSPECT_S):
                return RecorderReport(*await self._ask(Measure()))
        except (QuickchangeError, TimeoutError) as error:
            logger.warning("the recorder does not report its state: %s", error)
            return None

    async def _ask(self, ask: Ask[T]) -> T:
        """The owner's result. Raises the store's refusal, or ``StorageFailed``."""
        return _raised(await self._tasks.start(self._owner(ask)))

    async def flush(self) -> None:
        """Returns when no record is queued."""
        if self._sender is not None:
            await self._sender

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            for record in batch:
                self._bytes.give_back(record.tenant, _size(record))
            try:
                await self._send_batch(batch)
            except Exception:
                self._drop(len(batch), "internal error")
                raise

    async def _send_batch(self, batch: list[ResponseRecord]) -> None:
        for _ in range(TRIES):
            try:
                failures = _raised(await self._owner(Keep(tuple(batch))))
            except (StorageFailed, StorageInUse) as error:
                # Some of them may be stored; a record that is stored twice is found once.
                lost = error.message
                await asyncio.sleep(self._retry_s)
                continue
            self.kept += len(batch) - len(failures)
            if failures:
                self._drop(len(failures), failures[0].message)
            return
        self._drop(len(batch), lost)

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        logger.warning("response records dropped: %s", reason, extra={"count": count, "dropped": self.dropped})


def _raised(answer: T | Failure) -> T:
    if isinstance(answer, Failure):
        raise from_failure(answer)
    return answer


def _size(record: ResponseRecord) -> int:
    """Approximate bytes of a record's texts."""
    texts = 0
    for prompt in record.prompts:
        if isinstance(prompt, str):
            texts += len(prompt)
        else:
            texts += sum(8 if isinstance(part, int) else len(part.content) for part in prompt)
    return 512 + texts + sum(len(choice.text) for choice in record.choices)
