"""Joins feedback with the responses that it is about: looks up, checks, stores, acknowledges."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from service.errors import InvalidValue, ResponseNotFound
from service.feedback.cursor import cursors_of
from service.feedback.disk import storage_errors
from service.feedback.events import Author, FeedbackEvent, ResponseRecord, event_of
from service.feedback.log import FeedbackLog, Receipt
from service.feedback.reading import START, Offset
from service.feedback.responses import ResponseLog, response_key
from service.feedback.said import FeedbackInput, Ranking, answers
from service.feedback.wire import field_path
from service.settings import FeedbackOptions
from service.support.counting import Buckets

PAGE_S = 5.0
"""Bounds the time to read one page; it is shorter if there are too many events of other tenants."""
READ_ON = 10_000
"""Bound on remembered readers, for whom events of other tenants are not read again at each request."""


class Page(NamedTuple):
    """Some of a tenant's own events, oldest first."""

    events: tuple[FeedbackEvent, ...]
    next: str
    """The ``after`` of the next request; unchanged if there were no further events. It reveals nothing of others."""


class Size(NamedTuple):
    """The size of the store on disk, and the commit times of feedback."""

    log_bytes: int
    response_bytes: int
    commit_s: Buckets


class FeedbackStore:
    """Owns ``<directory>/events`` and ``<directory>/responses``. Belongs to the event loop in which it is created.

    ::

        directory/events/      every event, and each response that an event is about
        directory/responses/   the newest response records; without them, feedback on them is refused
    """

    def __init__(self, directory: Path, options: FeedbackOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._awaited: dict[bytes, list[asyncio.Future[None]]] = {}
        self._log = FeedbackLog(directory / "events", options)
        self._reading = Lock()
        self._read_on: OrderedDict[tuple[str, Offset], Offset] = OrderedDict()
        """(tenant, offset) → a later offset; between the two there is no event of the tenant."""
        try:
            with storage_errors("reading the key of the cursors"):
                self._cursors = cursors_of(directory)
            self._responses = ResponseLog(directory / "responses", options, self._stored)
        except BaseException:
            self._log.close()
            raise

    async def keep(self, records: Sequence[ResponseRecord]) -> None:
        """Store response records; returns when they are durable, after at most 100 ms and an fsync.

        Raises ``StorageFull``, ``StorageFailed``, ``Overloaded`` or ``InvalidValue``; feedback on records that were
        not stored will be refused.
        """
        kept = [asyncio.wrap_future(self._responses.submit(record)) for record in records]
        await asyncio.gather(*kept)

    async def accept(self, inputs: Sequence[FeedbackInput], author: Author) -> tuple[Receipt, ...]:
        """Store feedback, all or none; returns when it is durable.

        Raises ``ResponseNotFound``, ``InvalidValue`` or ``IdempotencyConflict`` with ``param`` naming the event;
        ``StorageFull``, ``StorageFailed`` or ``Overloaded``.
        """
        if not 1 <= len(inputs) <= self._options.batch:
            raise InvalidValue(f"events: must be 1 to {self._options.batch} at once", param="events")
        responses = await self._find(inputs, author.tenant)
        now = datetime.now(UTC)
        events = []
        for i, said in enumerate(inputs):
            _check(said, responses, i, len(inputs))
            events.append(event_of(said, author, [responses[answer.response_id] for answer in answers(said)], now))
        return await asyncio.wrap_future(self._log.submit(events, responses))

    async def page(self, tenant: str, after: str = "", limit: int = 100) -> Page:
        """Up to ``limit`` of the tenant's own events after an earlier page; fewer if reading takes too long.

        Raises ``InvalidValue`` if ``after`` is not the ``next`` of a page.
        """
        return await asyncio.to_thread(self._page, tenant, after, limit)

    async def size(self) -> Size:
        """For metrics; reads file sizes."""
        log_bytes, response_bytes = await asyncio.to_thread(lambda: (self._log.nbytes(), self._responses.nbytes()))
        return Size(log_bytes, response_bytes, self._log.commit_s())

    async def close(self) -> None:
        """Commit all submissions, then release the directories."""
        await asyncio.to_thread(self._responses.close)
        await asyncio.to_thread(self._log.close)

    # -- looking up -------------------------------------------------------------------------------------------

    async def _find(self, inputs: Sequence[FeedbackInput], tenant: str) -> dict[str, ResponseRecord]:
        """Every response that ``inputs`` are about, by id. ``ResponseNotFound`` names the first missing one."""
        paths: dict[str, str] = {}
        for i, said in enumerate(inputs):
            for answer in answers(said):
                paths.setdefault(answer.response_id, field_path(i, len(inputs), "target"))
        keys = {response_id: response_key(tenant, response_id) for response_id in paths}
        await self._arrived(list(keys.values()))
        found = await asyncio.to_thread(self._responses.read, list(keys.values()))
        for response_id, path in paths.items():
            if keys[response_id] not in found:
                raise ResponseNotFound(f"{path}: there is no response {response_id}", param=path)
        return {response_id: found[key] for response_id, key in keys.items()}

    async def _arrived(self, keys: Sequence[bytes]) -> None:
        """Returns when all records exist, or after ``wait_s``.

        The race "feedback first": a response's last byte reaches the client before its record is stored, so feedback
        on it may arrive before the record. Unknown ids and other tenants' ids wait equally long.
        """
        waits = {key: self._loop.create_future() for key in keys}
        for key, wait in waits.items():
            self._awaited.setdefault(key, []).append(wait)
        try:
            # Checked after registering for notification; otherwise a record could arrive between the two.
            missing = [wait for key, wait in waits.items() if key not in self._responses]
            if missing:
                await asyncio.wait(missing, timeout=self._options.wait_s)
        finally:
            for key, wait in waits.items():
                wait.cancel()
                self._awaited[key].remove(wait)
                if not self._awaited[key]:
                    del self._awaited[key]

    def _stored(self, key: bytes) -> None:
        """Called on the commit thread; the event loop may already be closed for the last record."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: bytes) -> None:
        for wait in self._awaited.get(key, ()):
            if not wait.done():
                wait.set_result(None)

    def _page(self, tenant: str, after: str, limit: int) -> Page:
        asked = self._cursors.open(tenant, after) if after else START
        if asked is None or not self._log.has(asked):
            raise InvalidValue("after: must be the next of an earlier page", param="after")
        events: list[FeedbackEvent] = []
        # ``own`` advances only at the tenant's events: it is returned, so events of others must not change it.
        own, read, until = asked, self._read_on.get((tenant, asked), asked), time.monotonic() + PAGE_S
        for offset, entry in self._log.read(read):
            read = offset._replace(line=offset.line + 1)
            if entry.event is not None and entry.event.tenant == tenant:
                events.append(entry.event)
                own = read
                if len(events) == limit:
                    break
            elif time.monotonic() > until:
                own = read
                break
        self._remember(tenant, own, read)
        return Page(tuple(events), self._cursors.seal(tenant, own) if own != START else "")

    def _remember(self, tenant: str, own: Offset, read: Offset) -> None:
        with self._reading:
            self._read_on.pop((tenant, own), None)
            self._read_on[(tenant, own)] = read
            while len(self._read_on) > READ_ON:
                self._read_on.popitem(last=False)


def _check(said: FeedbackInput, responses: dict[str, ResponseRecord], index: int, count: int) -> None:
    """Raises ``InvalidValue`` if an answer does not exist, or compared answers have different prompts."""
    param = field_path(index, count, "value" if isinstance(said, Ranking) else "target")
    prompts = set()
    for answer in answers(said):
        record = responses[answer.response_id]
        if answer.choice >= len(record.choices):
            raise InvalidValue(f"{param}: response {record.id} has no choice {answer.choice}", param=param)
        prompts.add(record.prompt(answer.choice))
    if len(prompts) > 1:
        raise InvalidValue(f"{param}: only answers to the same prompt can be compared", param=param)
