"""The one-replica deployment that owns the feedback store, and the gateway's way to it.

keep(record) ─► waiting ─► one call at a time, all that came meanwhile ─► store ─► fsync      nobody waits
accept, page ─► one call each ───────────────────────────────────────────► store ─► fsync ─► receipts
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from adapters_registry.background import in_background
from adapters_registry.edge.shares import Shares
from service.errors import InternalError, QuickchangeError, StorageFailed, StorageInUse, from_failure
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.said import FeedbackInput
from service.feedback.store import FeedbackStore, Page
from service.report import RecorderReport
from service.settings import Settings
from service.support.logs import open_logs
from service.values import Failure

logger = logging.getLogger(__name__)

BATCH = 256
"""Most response records of one call."""
INSPECT_S = 2.0
QUEUE_SHARE = 0.75
"""Of the bytes that may wait, for the records of one tenant alone."""
RETRY_S = 0.5
TRIES = 600
"""So long a recorder that was lost may take to come back, or wait for its directory, before records are given up."""
OPEN_S = 1.0
"""How often a recorder whose directory is in another's hands looks again."""

T = TypeVar("T")


class StoreCalls:
    """A feedback store as calls: what goes wrong is a value, so that it crosses processes whole.

    Without a store yet ``keep`` and ``inspect`` raise ``StorageInUse``: records are sent again.
    """

    def __init__(self, store: FeedbackStore | None) -> None:
        self._opened = store

    @property
    def _store(self) -> FeedbackStore:
        if self._opened is None:
            raise StorageInUse("another process still owns the feedback log: send it again", retry_after_s=OPEN_S)
        return self._opened

    async def keep(self, records: Sequence[ResponseRecord]) -> tuple[Failure, ...]:
        """Keep what can be kept; why the rest was not."""
        store = self._store
        kept = await asyncio.gather(*(store.keep([record]) for record in records), return_exceptions=True)
        return tuple(_failure(error) for error in kept if error is not None)

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...] | Failure:
        return await _told(lambda: self._store.accept(inputs, author))

    async def page(self, tenant: str, after: str, limit: int) -> Page | Failure:
        return await _told(lambda: self._store.page(tenant, after, limit))

    async def inspect(self) -> RecorderReport:
        return RecorderReport(*await self._store.size())


class OwnStore(StoreCalls):
    """A store that is opened as soon as it is free.

    Where a cluster replaces another, the old one's recorder owns the directory until that cluster ends. The new one's
    is well meanwhile and waits: a deployment that fails would keep the new cluster from ever taking over.
    """

    def __init__(self, open_store: Callable[[], FeedbackStore], every_s: float = OPEN_S) -> None:
        """Raises what ``open_store`` raises, but ``StorageInUse``."""
        super().__init__(None)
        self._open_store = open_store
        self._opening: asyncio.Task[None] | None = None
        try:
            self._opened = open_store()
        except StorageInUse as error:
            logger.warning("%s; waiting until it lets go", error.message)
            self._opening = asyncio.create_task(self._open_later(every_s))

    async def check_health(self) -> None:
        """Raises why the store could not be opened when it was free: a fresh start will say so, too."""
        if self._opening is not None and self._opening.done():
            await self._opening

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._opened is not None:
            await self._opened.close()

    async def _open_later(self, every_s: float) -> None:
        while self._opened is None:
            await asyncio.sleep(every_s)
            with suppress(StorageInUse):
                self._opened = self._open_store()
        logger.warning("the feedback log is free and open now")


class Recorder(OwnStore):
    """The Serve deployment: the store in ``data_dir/feedback``."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]
        open_logs(settings.log_level, settings.logs, "recorder")
        super().__init__(lambda: FeedbackStore(settings.data_dir / "feedback", settings.feedback))

    async def __del__(self) -> None:
        # Serve awaits this once requests have drained.
        if hasattr(self, "_opening"):
            await self.close()


async def _told(work: Callable[[], Awaitable[T]]) -> T | Failure:
    try:
        return await work()
    except QuickchangeError as error:
        return error.failure()


def _failure(error: BaseException) -> Failure:
    if isinstance(error, QuickchangeError):
        return error.failure()
    logger.error("a response record was not kept", exc_info=error)
    return InternalError("the response record could not be kept: internal error").failure()


class Calls(Protocol):
    """The same, where they may not arrive (``gateway.RecorderTransport``): each raises ``StorageFailed`` then."""

    async def keep(self, records: Sequence[ResponseRecord]) -> tuple[Failure, ...]: ...

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...] | Failure: ...

    async def page(self, tenant: str, after: str, limit: int) -> Page | Failure: ...

    async def inspect(self) -> RecorderReport: ...


class RecorderClient:
    """The ``Feedback`` of a gateway. Belongs to one event loop."""

    def __init__(self, calls: Calls, queue_bytes: int, retry_s: float = RETRY_S) -> None:
        self._calls = calls
        self._retry_s = retry_s
        self._waiting: deque[ResponseRecord] = deque()
        self._bytes = Shares(queue_bytes, QUEUE_SHARE)
        """Of those that wait, by tenant."""
        self._sender: asyncio.Task[None] | None = None
        self.kept = 0
        """Response records that are durable."""
        self.dropped = 0
        """Response records given up: no feedback will find them."""

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
        return _raised(await _apart(self._calls.accept(inputs, author)))

    async def page(self, tenant: str, after: str, limit: int) -> Page:
        return _raised(await _apart(self._calls.page(tenant, after, limit)))

    async def inspect(self) -> RecorderReport | None:
        """What the owner says of itself; None where it does not answer in time."""
        try:
            async with asyncio.timeout(INSPECT_S):
                return await _apart(self._calls.inspect())
        except (QuickchangeError, TimeoutError) as error:
            logger.warning("the owner of the feedback log does not say how it is: %s", error)
            return None

    async def flush(self) -> None:
        """Returns when no record waits any more."""
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
                failures = await self._calls.keep(batch)
            except (StorageFailed, StorageInUse) as error:
                # It may have kept some of them: a record kept twice is found once.
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


def _apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run ``work`` outside the request under way, whose context Serve would take for the call's own."""
    return asyncio.create_task(work, context=contextvars.Context())


def _raised(answer: T | Failure) -> T:
    if isinstance(answer, Failure):
        raise from_failure(answer)
    return answer


def _size(record: ResponseRecord) -> int:
    """About the bytes of a record's texts."""
    texts = 0
    for prompt in record.prompts:
        if isinstance(prompt, str):
            texts += len(prompt)
        else:
            texts += sum(8 if isinstance(part, int) else len(part.content) for part in prompt)
    return 512 + texts + sum(len(choice.text) for choice in record.choices)
