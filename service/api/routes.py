"""The data plane's routes: each parses, calls and renders."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters_registry.access import Scope
from adapters_registry.background import in_background
from adapters_registry.edge.aside import Aside
from adapters_registry.edge.cors import Cors
from adapters_registry.support.loopback import listens_on_loopback
from service.access.quota import QuotaBook
from service.api.auth import OPEN, Gate, Gated, caller_of
from service.api.body import chat_request, completion_request
from service.api.edge import Edge
from service.api.exchange import exchange_of
from service.api.feedback import FeedbackRoutes
from service.api.front import Front
from service.api.generation import Endpoint, Generation, Means
from service.api.guard import Guard
from service.api.jobs import Jobs
from service.api.models import Models
from service.api.operator_routes import OperatorRoutes
from service.api.places import Places, Room
from service.api.preflight import Preflights
from service.api.quota_gate import QuotaGate
from service.api.shapes import Chat, Completion
from service.api.status import error_response
from service.api.vocabulary import Vocabulary
from service.errors import MethodNotAllowed, NotReady, RouteNotFound

log = logging.getLogger(__name__)

_INLINE_BYTES = 16 << 10
"""Bodies up to this size are parsed on the event loop."""
READY_S = 5.0
"""Time limit of a readiness check; after it the service counts as not ready."""


def create_app(front: Front) -> Starlette:
    """The ASGI application over ``front``; while its lifespan lasts, the catalog follows the registry."""
    # While no key exists every caller has all rights, so only requests of this machine are accepted.
    origins = front.settings.cors_origins
    gate = Gate(front.catalog, front.settings.keys, origins, anonymous=listens_on_loopback(front.settings.host))
    generation, feedback, reading = (Room(front.settings.limits) for _ in range(3))
    front.metrics.in_flight_is(lambda: generation.taken + feedback.taken + reading.taken)
    # Created later, because it needs the clock of the running event loop.
    book = QuotaBook(front.settings.keys.gateways, front.ledger, time.monotonic())
    routes = _Routes(front, gate, book)
    operator = OperatorRoutes(front)
    front.metrics.serves(front.backend.served)
    front.metrics.connections_are(front.backend.connections)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        following = in_background(front.catalog.follow, "following the registry")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    app = Starlette(
        routes=[
            Gated(gate, "POST", "/v1/chat/completions", Scope.INFER, routes.chat, _placed(generation)),
            Gated(gate, "POST", "/v1/completions", Scope.INFER, routes.completion, _placed(generation)),
            Gated(gate, "POST", "/v1/feedback", Scope.FEEDBACK_WRITE, routes.feedback.post, _placed(feedback)),
            Gated(gate, "GET", "/v1/feedback", Scope.FEEDBACK_EXPORT, routes.feedback.get, _placed(feedback)),
            Gated(gate, "GET", "/v1/models", Scope.INFER, routes.models, _placed(reading)),
            Gated(gate, "GET", "/v1/models/{id:path}", Scope.INFER, routes.model, _placed(reading)),
            Gated(gate, "GET", "/v1/adapters/residency", Scope.SCRAPE, operator.residency, _placed(reading)),
            Gated(gate, "GET", "/metrics", Scope.SCRAPE, operator.metrics),
            Gated(gate, "GET", "/", OPEN, routes.root),
            Gated(gate, "GET", "/health", OPEN, routes.health),
            Gated(gate, "GET", "/ready", OPEN, routes.ready),
        ],
        middleware=[
            Middleware(Edge),
            Middleware(Cors, origins=origins),
            Middleware(Guard, limits=front.settings.limits, metrics=front.metrics),
            Middleware(Preflights, origins=origins),
        ],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _placed(room: Room) -> Middleware:
    return Middleware(Places, room=room)


class _Routes:
    def __init__(self, front: Front, gate: Gate, book: QuotaBook) -> None:
        vocabulary = Vocabulary(front.tokenizer)
        self._front = front
        self._gate = gate
        self._models = Models(front, int(time.time()))
        bodies = Aside("bodies", 1, inline=_INLINE_BYTES, pauses=True)
        means = Means(front, jobs := Jobs(front), vocabulary, bodies, QuotaGate(book))
        self.chat = Generation(Endpoint(chat_request, jobs.chat, Chat(vocabulary)), means)
        self.completion = Generation(Endpoint(completion_request, jobs.completion, Completion(vocabulary)), means)
        self.feedback = FeedbackRoutes(front.backend.feedback, front.settings.feedback, front.metrics, bodies)

    async def models(self, request: Request) -> Response:
        asked = request.query_params
        return JSONResponse(
            self._models.list(caller_of(request.scope).principal, asked.get("after"), asked.get("limit"))
        )

    async def model(self, request: Request) -> Response:
        return JSONResponse(self._models.retrieve(request.path_params["id"], caller_of(request.scope).principal))

    async def root(self, request: Request) -> Response:
        """For load balancers and people: returns nothing but that the service answers."""
        return JSONResponse({"service": "quickchange", "api": "/v1", "health": "/health", "ready": "/ready"})

    async def health(self, request: Request) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 only if the base answers and the keys are known; it does not require that the registry answers."""
        self._front.catalog.keys.need_known()
        try:
            async with asyncio.timeout(READY_S):
                ready = await self._front.backend.ready()
        except TimeoutError:
            ready = False
        if not ready:
            raise NotReady("the base model is not loaded yet, or no replica answers: wait and ask again")
        return JSONResponse({"status": "ready"})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        refusal: MethodNotAllowed | RouteNotFound = MethodNotAllowed(f"{path}: this path takes another method")
    else:
        refusal = RouteNotFound(f"{path}: there is no such path")
    exchange_of(request.scope).error = refusal.code
    response = error_response(refusal)
    response.headers.update(error.headers or {})
    return response
