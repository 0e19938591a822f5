"""The HTTP answer of a job, whole or streamed. A client that disconnects ends the generation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from service.api import sse
from service.api.disconnect import ClientGone, unless_gone
from service.api.exchange import Exchange
from service.api.job import Job
from service.api.run import Run
from service.api.shapes import Shape, usage_object
from service.api.status import error_body
from service.api.text import Delta, ShownToken
from service.errors import DeadlineExceeded, InternalError, QuickchangeError
from service.values import FinishReason, Generate

log = logging.getLogger(__name__)

_LAST_BYTES_S = 5.0
"""Bounds how long the last bytes of a stream wait for a client that does not read."""


async def whole(job: Job, run: Run, shape: Shape, generate: Generate, receive: Receive) -> Response:
    """The answer in one JSON body."""
    logprobs: list[list[ShownToken]] = [[] for _ in run.choices]

    async def collect() -> None:
        async with within(job.deadline), aclosing(run.deltas(generate)) as deltas:
            async for batch in deltas:
                for delta in batch:
                    logprobs[delta.index].extend(delta.logprobs)

    await unless_gone(receive, collect())
    choices = [
        Delta(choice.index, choice.text, tuple(shown), choice.finish)
        for choice, shown in zip(run.choices, logprobs, strict=True)
    ]
    body = _envelope(job, shape.whole_object) | {
        "choices": [shape.whole(choice, job.logprobs) for choice in choices],
        "usage": usage_object(run.usage()),
    }
    return JSONResponse(body, headers=job.served.headers)


class Stream(Response):
    """The answer as server-sent events.

    The first bytes wait for the first token, so that earlier errors have their own HTTP status. A later error is
    sent as an event, and the stream ends there, without ``[DONE]``.
    """

    def __init__(self, job: Job, run: Run, shape: Shape, generate: Generate, exchange: Exchange) -> None:
        """``exchange`` records errors that happen after the status line was sent."""
        self.background = None
        self.status_code = 200
        self._job = job
        self._run = run
        self._shape = shape
        self._generate = generate
        self._exchange = exchange
        self._begun = False
        self._seen: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unfinished = FinishReason.FAILED
        try:
            await unless_gone(receive, self._write(send))
        except ClientGone:
            unfinished = FinishReason.CANCELLED
            raise
        finally:
            if self._begun:
                self._run.broken_off(unfinished)

    async def _write(self, send: Send) -> None:
        try:
            async with within(self._job.deadline), aclosing(self._run.deltas(self._generate)) as deltas:
                async for batch in deltas:
                    await self._begin(send)
                    await send(_bytes(b"".join(self._events(batch)), more=True))
            last = self._usage() + sse.DONE
        except QuickchangeError as error:
            if not self._begun:
                raise
            self._exchange.error = error.code
            last = sse.event(error_body(error))
        except Exception:
            # The status line is already sent: an event must show that the answer is incomplete.
            if not self._begun:
                raise
            log.exception("a stream failed unexpectedly")
            self._exchange.error = InternalError.code
            last = sse.event(error_body(InternalError("internal error; its cause is in the log under this id")))
        try:
            async with asyncio.timeout(_LAST_BYTES_S):
                await send(_bytes(last, more=False))
        except TimeoutError as error:
            raise ClientGone from error

    async def _begin(self, send: Send) -> None:
        if self._begun:
            return
        self._begun = True
        headers = sse.HEADERS | self._job.served.headers
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    def _events(self, batch: list[Delta]) -> list[bytes]:
        extra: dict[str, object] = {"usage": None} if self._job.include_usage else {}
        if self._job.running_usage:
            extra = {"usage": usage_object(self._run.usage())}
        envelope = _envelope(self._job, self._shape.chunk_object)
        events = []
        for delta in batch:
            first = delta.index not in self._seen
            self._seen.add(delta.index)
            for choice in self._shape.chunks(delta, self._job.logprobs, first):
                events.append(sse.event(envelope | {"choices": [choice]} | extra))
        return events

    def _usage(self) -> bytes:
        if not self._job.include_usage:
            return b""
        envelope = _envelope(self._job, self._shape.chunk_object)
        return sse.event(envelope | {"choices": [], "usage": usage_object(self._run.usage())})


@asynccontextmanager
async def within(deadline: float) -> AsyncIterator[None]:
    """Raises ``DeadlineExceeded`` if the block is not done by ``deadline``, on the event loop's clock."""
    timeout = asyncio.timeout_at(deadline)
    try:
        async with timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise DeadlineExceeded("the request's time ran out: ask for fewer tokens, or retry later") from error


def _envelope(job: Job, kind: str) -> dict[str, object]:
    return {
        "id": job.id,
        "object": kind,
        "created": job.created_s,
        "model": job.served.model,
        "system_fingerprint": job.served.fingerprint,
    }


def _bytes(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
