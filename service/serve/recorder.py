"""The one-replica deployment that owns the feedback store and answers the gateways' calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from service.errors import QuickchangeError, StorageInUse
from service.feedback.port import Ask
from service.feedback.store import FeedbackStore
from service.settings import Settings
from service.support.logs import open_logs
from service.values import Failure

logger = logging.getLogger(__name__)

OPEN_S = 1.0
"""Interval at which a recorder tries to open a directory that another process owns."""

T = TypeVar("T")


class StoreOwner:
    """Owns a store, which it opens as soon as no other process owns it.

    When a cluster replaces another one, the old recorder owns the directory until the old cluster ends. The new
    recorder waits and is healthy meanwhile: a failing deployment would prevent the new cluster from taking over.
    """

    def __init__(self, open_store: Callable[[], FeedbackStore], every_s: float = OPEN_S) -> None:
        """Raises the errors of ``open_store``, except ``StorageInUse``."""
        self._open_store = open_store
        self._store: FeedbackStore | None = None
        self._opening: asyncio.Task[None] | None = None
        try:
            self._store = open_store()
        except StorageInUse as error:
            logger.warning("%s; waiting until it is released", error.message)
            self._opening = asyncio.create_task(self._open_later(every_s))

    async def answer(self, ask: Ask[T]) -> T | Failure:
        """Runs ``ask``. A refusal is returned as a value, for the other process; without a store ``StorageInUse``."""
        try:
            return await ask.of(self._opened())
        except QuickchangeError as error:
            return error.failure()

    async def check_health(self) -> None:
        """Raises the error with which the store could not be opened although no other process owned it."""
        if self._opening is not None and self._opening.done():
            await self._opening

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._store is not None:
            await self._store.close()

    def _opened(self) -> FeedbackStore:
        if self._store is None:
            raise StorageInUse("another process still owns the feedback log: send it again", retry_after_s=OPEN_S)
        return self._store

    async def _open_later(self, every_s: float) -> None:
        while self._store is None:
            await asyncio.sleep(every_s)
            with suppress(StorageInUse):
                self._store = self._open_store()
        logger.warning("the feedback log was released and is open now")


class Recorder(StoreOwner):
    """The Serve deployment: the store in ``data_dir/feedback``."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]
        open_logs(settings.log_level, settings.logs, "recorder")
        super().__init__(lambda: FeedbackStore(settings.data_dir / "feedback", settings.feedback))

    async def __del__(self) -> None:
        # Serve awaits this after requests have drained.
        if hasattr(self, "_opening"):
            await self.close()
