"""The feedback log's two interfaces: the one that the HTTP front uses, and the one to the owning process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from service.errors import InternalError, QuickchangeError
from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.said import FeedbackInput
from service.feedback.store import FeedbackStore, Page, Size
from service.values import Failure

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Feedback(Protocol):
    """The feedback log, in this or another process."""

    def keep(self, record: ResponseRecord) -> None:
        """Store a response, so that feedback on it can be accepted. Does not wait; failures are counted."""
        ...

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...]:
        """As ``FeedbackStore.accept``; also raises ``StorageFailed`` if the owner does not answer."""
        ...

    async def page(self, tenant: str, after: str, limit: int) -> Page:
        """As ``FeedbackStore.page``."""
        ...


class Ask(Protocol[T_co]):
    """One operation of the store with its arguments, as a value that can be sent to another process."""

    async def of(self, store: FeedbackStore) -> T_co: ...


class Owner(Protocol):
    """Calls the process that owns the store.

    A refusal of the store is returned as a value. Raises ``StorageFailed`` if there is no answer.
    """

    def __call__(self, ask: Ask[T], /) -> Coroutine[Any, Any, T | Failure]: ...


@dataclass(frozen=True, slots=True)
class Keep:
    """Store response records as far as possible; returns the failures of the others."""

    records: tuple[ResponseRecord, ...]

    async def of(self, store: FeedbackStore) -> tuple[Failure, ...]:
        kept = await asyncio.gather(*(store.keep([record]) for record in self.records), return_exceptions=True)
        return tuple(_failure(error) for error in kept if error is not None)


@dataclass(frozen=True, slots=True)
class Accept:
    """Store feedback, all or none."""

    inputs: tuple[FeedbackInput, ...]
    author: Author

    async def of(self, store: FeedbackStore) -> tuple[Receipt, ...]:
        return await store.accept(self.inputs, self.author)


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read a page of a tenant's own events."""

    tenant: str
    after: str
    limit: int

    async def of(self, store: FeedbackStore) -> Page:
        return await store.page(self.tenant, self.after, self.limit)


@dataclass(frozen=True, slots=True)
class Measure:
    """Return the size of the store on disk."""

    async def of(self, store: FeedbackStore) -> Size:
        return await store.size()


def _failure(error: BaseException) -> Failure:
    if isinstance(error, QuickchangeError):
        return error.failure()
    logger.error("a response record was not stored", exc_info=error)
    return InternalError("the response record could not be kept: internal error").failure()
