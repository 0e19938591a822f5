"""The endpoints that generate: parse, admit, reserve, run, answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters_registry.edge.aside import Aside
from service.access.keyring import Caller
from service.api import answer
from service.api.auth import caller_of
from service.api.body import Parsed
from service.api.exchange import Exchange, exchange_of
from service.api.feedback import response_record
from service.api.front import Front
from service.api.job import Job, Served
from service.api.jobs import Jobs, Origin
from service.api.latency import Latency
from service.api.quota_gate import QuotaGate
from service.api.run import Run
from service.api.schemas import Request as Body
from service.api.shapes import Shape
from service.api.sorting import Ignored
from service.api.text import Choice
from service.api.vocabulary import Vocabulary
from service.settings import Limits
from service.values import FinishReason

log = logging.getLogger(__name__)

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Endpoint(Generic[B]):
    """The differences between the two endpoints."""

    parse: Callable[[bytes, Limits], Parsed[B]]
    job: Callable[[Parsed[B], Served, Origin], Coroutine[Any, Any, Job]]
    shape: Shape


@dataclass(frozen=True)
class Means:
    """The objects that both endpoints use."""

    front: Front
    jobs: Jobs
    vocabulary: Vocabulary
    bodies: Aside
    quotas: QuotaGate


class Generation(Generic[B]):
    """An ASGI application, so that a request's quotas are held until its answer, streamed or not, has ended."""

    def __init__(self, endpoint: Endpoint[B], means: Means) -> None:
        self._endpoint = endpoint
        self._means = means
        self._front = means.front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller, exchange = caller_of(scope), exchange_of(scope)
        with self._means.quotas.enter(caller, exchange) as hold:
            request = Request(scope, receive)
            parsed = await self._parsed(await request.body(), caller)
            exchange.job = job = await self._admitted(parsed, caller, exchange)
            hold.reserve(job)
            run = self._run(job, exchange)
            try:
                response = await self._answer(job, run, bool(parsed.request.stream), receive, exchange)
                await response(scope, receive, send)
            finally:
                hold.usage = exchange.usage = run.usage()

    async def _parsed(self, raw: bytes, caller: Caller) -> Parsed[B]:
        limits = self._front.settings.limits
        return await self._means.bodies.run(len(raw), lambda: self._endpoint.parse(raw, limits), caller.account)

    async def _admitted(self, parsed: Parsed[B], caller: Caller, exchange: Exchange) -> Job:
        with self._reporting(parsed.ignored, exchange):
            exchange.served = served = self._means.jobs.serve(parsed.request.model, caller)
            return await self._endpoint.job(parsed, served, Origin(caller, exchange.request_id, exchange.arrived))

    @contextmanager
    def _reporting(self, ignored: Ignored, exchange: Exchange) -> Iterator[None]:
        """Reports ignored fields to the client and to metrics, whether or not the request succeeds."""
        try:
            yield
        finally:
            if ignored.names:
                exchange.headers["x-ignored-parameters"] = ignored.header()
                self._front.metrics.parameters_ignored(hints=ignored.hints, unknown=ignored.unknown)

    def _run(self, job: Job, exchange: Exchange) -> Run:
        latency = Latency(self._front.metrics, exchange.arrived)
        on_end = None if self._front.backend.feedback is None else self._remember
        return Run(job, self._means.vocabulary, latency, on_end)

    async def _answer(self, job: Job, run: Run, stream: bool, receive: Receive, exchange: Exchange) -> Response:
        shape, generate = self._endpoint.shape, self._front.backend.generate
        if stream:
            return answer.Stream(job, run, shape, generate, exchange)
        return await answer.whole(job, run, shape, generate, receive)

    def _remember(self, job: Job, choices: Sequence[Choice], unfinished: FinishReason) -> None:
        assert self._front.backend.feedback is not None
        try:
            record = response_record(job, choices, unfinished)
        except ValidationError:
            # The answer is valid and must be sent, although feedback on it will not be possible.
            log.exception("a response could not be recorded", extra={"id": job.id})
        else:
            self._front.backend.feedback.keep(record)
