"""The service over HTTP: its models, streamed answers, and feedback on them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from adapters_registry.wire import bearer, is_local
from service.chat.conversation import Turn
from service.chat.sse import data_of
from service.errors import QuickchangeError, ReplicaFailed, RouteNotFound, from_failure
from service.values import Failure

TIMEOUT = httpx.Timeout(10.0, read=600.0)
"""A request may wait in the queue until the service's deadline (default 300 s)."""
FEEDBACK_OFF = "feedback is off on this service: start it with `quickchange up --feedback.enabled`"
SOURCE = "chat"
"""The ``source`` of the feedback events."""

M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """One entry of ``/v1/models``."""

    id: str
    parent: str | None = None
    """None: it is the base itself."""
    root: str = ""
    """The version that answers."""


class Piece(NamedTuple):
    """What one event of a stream added to its answer."""

    response_id: str
    weights: str
    text: str
    finish: str | None


class Service:
    """A client for one event loop.

    Every method raises the ``QuickchangeError`` that the service answered with, or ``httpx.TransportError``, which
    ``unreachable`` puts into words.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        """``key`` is the text of an API key; a service without keys needs none."""
        self._http = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT, trust_env=not is_local(url), headers=bearer(key)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, shape: type[M]) -> M:
        """The value at ``path``."""
        return _parsed(await self._http.get(path), shape)

    async def models(self) -> list[Model]:
        """The base first."""
        page = await self.get("/v1/models", _Models)
        found = page.data
        while page.has_more:
            page = await self.get(f"/v1/models?after={quote(found[-1].id, safe='')}", _Models)
            found += page.data
        return found

    async def find(self, name: str) -> Model:
        """Raises ``ModelNotFound``."""
        return await self.get(f"/v1/models/{quote(name, safe='/@:')}", Model)

    async def ask(
        self, model: str, turns: Sequence[Turn], sampling: Mapping[str, float]
    ) -> AsyncGenerator[Piece, None]:
        """The answer as it comes; closing the iterator cancels it on the service."""
        body = {"model": model, "messages": [turn._asdict() for turn in turns], "stream": True} | dict(sampling)
        async with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.is_error:
                await answer.aread()
                raise _refusal(answer)
            async with aclosing(data_of(answer.aiter_bytes())) as events:
                async for data in events:
                    if data == "[DONE]":
                        return
                    yield _piece(_Chunk.model_validate_json(data), answer.headers.get("x-adapter", ""))
        raise ReplicaFailed("the stream ended before its answer was complete: ask again")

    async def judge(self, kind: str, target: Mapping[str, object], value: object) -> str:
        """Record feedback durably; the id of the event."""
        event = {"kind": kind, "target": target, "value": value, "source": SOURCE}
        try:
            recorded = _parsed(await self._http.post("/v1/feedback", json=event), _Recorded)
        except RouteNotFound as error:
            raise RouteNotFound(FEEDBACK_OFF) from error
        return recorded.data[0].id


def unreachable(error: httpx.TransportError) -> str:
    """What the user can do about the error."""
    why = str(error) or type(error).__name__
    try:
        url = error.request.url
    except RuntimeError:  # httpx: it was raised outside a request
        return f"the connection failed ({why})"
    place = f"{url.scheme}://{url.netloc.decode('ascii')}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"cannot reach {place} ({why}): start it with `quickchange up`"
    return f"{place} broke off ({why})"


class _Models(BaseModel):
    data: list[Model]
    has_more: bool = False


class _Event(BaseModel):
    id: str


class _Recorded(BaseModel):
    data: list[_Event]


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta
    finish_reason: str | None = None


class _Error(BaseModel):
    code: str
    message: str
    param: str | None = None


class _Refusal(BaseModel):
    error: _Error


class _Chunk(BaseModel):
    id: str = ""
    choices: list[_Choice] = []
    error: _Error | None = None


def _parsed(answer: httpx.Response, shape: type[M]) -> M:
    if answer.is_error:
        raise _refusal(answer)
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError:
        raise _stranger(answer) from None


def _refusal(answer: httpx.Response) -> QuickchangeError:
    try:
        return _failure(_Refusal.model_validate_json(answer.content).error)
    except ValidationError:
        return _stranger(answer)


def _failure(error: _Error) -> QuickchangeError:
    return from_failure(Failure(error.code, error.message, error.param))


def _stranger(answer: httpx.Response) -> QuickchangeError:
    return QuickchangeError(
        f"{answer.url} answered {answer.status_code}, not as this service does: is it the service's address?"
    )


def _piece(chunk: _Chunk, weights: str) -> Piece:
    if chunk.error is not None:
        raise _failure(chunk.error)
    text = "".join(choice.delta.content or "" for choice in chunk.choices)
    finish = next((choice.finish_reason for choice in chunk.choices if choice.finish_reason), None)
    return Piece(chunk.id, weights, text, finish)
