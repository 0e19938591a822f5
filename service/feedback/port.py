"""What the HTTP front asks of the feedback log's owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.feedback.events import Author, ResponseRecord
from service.feedback.log import Receipt
from service.feedback.said import FeedbackInput
from service.feedback.store import Page


class Feedback(Protocol):
    """The owner's store (``service.feedback.store.FeedbackStore``), wherever it runs."""

    def keep(self, record: ResponseRecord) -> None:
        """Have a response remembered, so that feedback on it can be taken. Never waits; failures are counted."""
        ...

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...]:
        """As ``FeedbackStore.accept``; raises ``StorageFailed`` too where the owner does not answer."""
        ...

    async def page(self, tenant: str, after: str, limit: int) -> Page:
        """As ``FeedbackStore.page``."""
        ...
