"""``/v1/feedback``: stores callers' feedback on answers, and returns their own events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters_registry.edge.aside import Aside
from service.access.keyring import Caller
from service.api.auth import caller_of
from service.api.job import Job
from service.api.json_object import json_object
from service.api.query import page_size
from service.api.schemas import Message, Prompt
from service.api.text import Choice
from service.errors import QuickchangeError, RouteNotFound, UnknownParameter
from service.feedback.events import Adapter, Author, Conversation, FeedbackEvent, Given, ResponseRecord, Turn
from service.feedback.port import Feedback
from service.feedback.wire import parse_inputs
from service.metrics import GatewayMetrics
from service.settings import FeedbackOptions
from service.values import AdapterRef, FinishReason

PAGE = 100
MOST = 1000
OFF = "feedback is off: start the service with --feedback.enabled"


class FeedbackRoutes:
    """Parses requests, calls the log's owner, renders answers."""

    def __init__(
        self, feedback: Feedback | None, options: FeedbackOptions, metrics: GatewayMetrics, bodies: Aside
    ) -> None:
        self._feedback = feedback
        self._bodies = bodies
        self._options = options
        self._metrics = metrics

    async def post(self, request: Request) -> Response:
        """202 once every event of the body is durable; if one is refused, none is stored."""
        feedback = self._on()
        try:
            raw, caller = await request.body(), caller_of(request.scope)
            most = self._options.batch
            inputs = await self._bodies.run(len(raw), lambda: parse_inputs(json_object(raw), most), caller.account)
            receipts = await feedback.accept(inputs, _author(caller))
        except QuickchangeError as error:
            self._metrics.feedback_refused(error.code)
            raise
        for said, receipt in zip(inputs, receipts, strict=True):
            self._metrics.feedback_accepted(said.kind, receipt.duplicate)
        data = [{"id": receipt.id, "duplicate": receipt.duplicate} for receipt in receipts]
        return JSONResponse({"object": "list", "data": data}, status_code=202)

    async def get(self, request: Request) -> Response:
        """A page of the caller's own events, oldest first."""
        feedback = self._on()
        unknown = next((name for name in request.query_params if name not in ("after", "limit")), None)
        if unknown is not None:
            raise UnknownParameter(f"{unknown[:200]}: there is no such parameter", param=unknown[:200])
        after = request.query_params.get("after", "")
        page = await feedback.page(
            caller_of(request.scope).tenant, after, page_size(request.query_params.get("limit"), PAGE, MOST)
        )
        return JSONResponse({"object": "list", "data": [_shown(event) for event in page.events], "next": page.next})

    def _on(self) -> Feedback:
        if self._feedback is None:
            raise RouteNotFound(OFF)
        return self._feedback


def response_record(job: Job, choices: Sequence[Choice], unfinished: FinishReason) -> ResponseRecord:
    """The record of an ended response; ``unfinished`` is the finish reason for choices that did not end."""
    return ResponseRecord(
        id=job.id,
        tenant=job.caller,
        model=job.served.model,
        adapters=tuple(map(_adapter, job.served.adapters)),
        base_digest=job.base_digest,
        prompts=tuple(map(_prompt, job.asked)),
        choices=tuple(
            Given(text=choice.text, finish=FinishReason(choice.finish or unfinished)) for choice in choices
        ),
        sampling=job.requests[0].sampling,
        stops=job.showing.stops,
        created_at=datetime.fromtimestamp(job.created_s, UTC),
    )


def _prompt(asked: tuple[Message, ...] | Prompt) -> Conversation | Prompt:
    if isinstance(asked, str):
        return asked
    return tuple(
        Turn(role=part.role, content=part.content, name=part.name) if isinstance(part, Message) else part
        for part in asked
    )  # type: ignore[return-value]  # all of them messages, or all token ids


def _adapter(ref: AdapterRef) -> Adapter:
    return Adapter(tenant=ref.tenant, name=ref.name, version=ref.version, digest=ref.digest)


def _author(caller: Caller) -> Author:
    return Author(caller.tenant, caller.id)


def _shown(event: FeedbackEvent) -> dict[str, object]:
    said = event.said.model_dump(mode="json")
    return {"id": event.id, "created_at": event.created_at.isoformat(), "digests": event.digests} | said
