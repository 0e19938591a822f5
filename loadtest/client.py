"""Sends one streamed request to an OpenAI-compatible server, reads it as its flow prescribes, returns a sample."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpcore
import httpx

from loadtest.samples import End, Sample
from loadtest.scenario import Disconnects, Patient, Reading, Slow, UntilEnd, Work

TIMEOUT = httpx.Timeout(connect=10, read=120, write=10, pool=None)
"""A server that sends nothing for this long has failed the request."""
PATIENCE_S = 60.0
"""An answer that has not ended this long after its phase has failed, so that a run always ends."""
SLOW_WINDOW_BYTES = 2048
"""A slow reader's receive buffer. The system's default would hold a whole unread answer."""
SLOW_TICK_S = 0.5
DONE = b"data: [DONE]"

Clock = Callable[[], float]
Extra = dict[str, dict[str, Any]]
"""By model: additional fields of its requests, for servers that select adapters by other fields than ``model``."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and its place in the plan."""

    phase: str
    round: int
    flow: str
    model: str
    place: int
    work: Work
    reading: Reading
    scheduled_s: float
    until_s: float
    """The phase's end; ``inf`` if it has none."""
    number: int
    """Makes the prompt unique."""
    tenant: str | None = None
    prompt: str | None = None
    """Identifies a prompt that several requests share."""


@dataclass
class _Reply:
    """What was received of an answer so far."""

    status: int | None = None
    adapter: str | None = None
    times: list[float] = field(default_factory=list)
    tokens: int | None = None
    text: hashlib._Hash = field(default_factory=hashlib.sha256)
    complete: bool = False
    left: bool = False
    error: str | None = None


class Client:
    """Uses a separate connection for each request in flight, so that none waits for a connection."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        slow: httpx.AsyncClient,
        clock: Clock,
        salt: str,
        extra: Extra | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.http = http
        self._slow = slow
        self.clock = clock
        self._salt = salt
        """Makes the prompts differ from those of earlier runs, so that a prefix cache does not help."""
        self._extra = extra or {}
        self._keys = keys or {}
        """By tenant."""

    async def ask(self, ask: Ask) -> Sample:
        """Returns a sample for failures of the server too, instead of raising."""
        reply = _Reply()
        sent_s = self.clock()
        http = self._slow if isinstance(ask.reading, Slow) else self.http
        try:
            async with (
                asyncio.timeout(None if math.isinf(ask.until_s) else ask.until_s + PATIENCE_S - sent_s),
                http.stream("POST", "completions", json=self._body(ask), headers=self._headers(ask)) as response,
            ):
                reply.status, reply.adapter = response.status_code, response.headers.get("x-adapter")
                if response.status_code != 200:
                    reply.error = f"{response.status_code} {_code(await response.aread())}"
                else:
                    await self._read(response, ask, reply)
        except (httpx.HTTPError, httpcore.NetworkError) as error:
            reply.error = type(error).__name__
        except TimeoutError:
            reply.error = f"no end within {PATIENCE_S:g} s of its phase's"
        except ValueError:
            reply.error = "an event that is no JSON"
        return _sample(ask, reply, sent_s, self.clock())

    def _headers(self, ask: Ask) -> dict[str, str]:
        key = self._keys.get(ask.tenant or "")
        return {"authorization": f"Bearer {key}"} if key else {}

    def _body(self, ask: Ask) -> dict[str, object]:
        body: dict[str, object] = {
            "model": ask.model,
            "prompt": prompt(ask.work, f"{self._salt}/{ask.number if ask.prompt is None else ask.prompt}"),
            "max_tokens": ask.work.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            **dict(ask.work.more),
            **self._extra.get(ask.model, {}),
        }
        return body if ask.work.logprobs is None else body | {"logprobs": ask.work.logprobs}

    async def _read(self, response: httpx.Response, ask: Ask, reply: _Reply) -> None:
        match ask.reading:
            case Patient():
                await self._events(response, reply, None)
            case Disconnects(after_chunks):
                await self._events(response, reply, after_chunks)
            case UntilEnd():
                try:
                    async with asyncio.timeout(max(0.0, ask.until_s - self.clock())):
                        await self._events(response, reply, None)
                except TimeoutError:
                    reply.left = True
            case Slow(bytes_per_s):
                await self._trickle(response, reply, bytes_per_s, ask.until_s)

    async def _events(self, response: httpx.Response, reply: _Reply, chunks: int | None) -> None:
        """Server-sent events until the end, or until ``chunks`` of them have come."""
        async for line in response.aiter_lines():
            if line == DONE.decode():
                reply.complete = True
            elif line.startswith("data: {"):
                self._event(json.loads(line[6:]), reply)
            if chunks is not None and len(reply.times) >= chunks:
                reply.left = True
                return

    def _event(self, event: dict[str, Any], reply: _Reply) -> None:
        if "error" in event:
            reply.error = f"in the stream: {event['error'].get('code')}"
        if event.get("choices"):
            reply.text.update(str(event["choices"][0].get("text")).encode())
            reply.times.append(self.clock())
        if event.get("usage"):
            reply.tokens = event["usage"]["completion_tokens"]

    async def _trickle(self, response: httpx.Response, reply: _Reply, bytes_per_s: int, until_s: float) -> None:
        """Reads the socket directly: httpx would empty it into its own buffers, so the server would not block."""
        stream: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        reply.times.append(self.clock())
        tail = b""
        while self.clock() < until_s and not reply.complete:
            try:
                piece = await stream.read(max(1, round(bytes_per_s * SLOW_TICK_S)), timeout=SLOW_TICK_S)
            except httpcore.ReadTimeout:
                continue
            if not piece:
                reply.error = "the server closed the connection"
                return
            reply.complete = DONE in tail + piece
            tail = (tail + piece)[-len(DONE) :]
            await asyncio.sleep(SLOW_TICK_S)
        reply.left = not reply.complete


@asynccontextmanager
async def connected(
    url: str,
    clock: Clock,
    *,
    salt: str,
    key: str | None = None,
    extra: Extra | None = None,
    keys: Mapping[str, str] | None = None,
) -> AsyncIterator[Client]:
    """A client of ``url``, which ends in ``/v1``. Ignores proxy settings: a proxy would be measured as well."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    direct = httpx.AsyncHTTPTransport(limits=unbounded)
    narrow = httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_WINDOW_BYTES)],
    )
    async with (
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT, headers=headers, transport=direct) as http,
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT, headers=headers, transport=narrow) as slow,
    ):
        yield Client(http, slow, clock, salt, extra, keys)


def prompt(work: Work, seed: str) -> list[int]:
    """Random token ids. Ids below 100 are not used, because most vocabularies have their special tokens there."""
    return Random(seed).choices(range(100, work.vocabulary), k=work.prompt_tokens)  # noqa: S311


def _sample(ask: Ask, reply: _Reply, sent_s: float, last_s: float) -> Sample:
    error = reply.error
    if error is None and not reply.left:
        if not reply.complete:
            error = "the stream ended without [DONE]"
        elif reply.tokens is not None and reply.tokens != ask.work.max_tokens:
            error = f"{reply.tokens} tokens instead of {ask.work.max_tokens}"
    end = End.FAILED if error else End.LEFT if reply.left else End.DONE
    times = reply.times
    return Sample(
        phase=ask.phase,
        round=ask.round,
        flow=ask.flow,
        model=ask.model,
        place=ask.place,
        scheduled_s=ask.scheduled_s,
        sent_s=sent_s,
        first_s=times[0] if times else None,
        last_s=last_s,
        gaps_s=tuple(later - earlier for earlier, later in itertools.pairwise(times)),
        tokens=len(times) if reply.tokens is None else reply.tokens,
        status=reply.status,
        adapter=reply.adapter,
        end=end,
        error=error,
        prompt=ask.prompt,
        answer=reply.text.hexdigest() if end is End.DONE else None,
    )


def _code(body: bytes) -> str:
    """The code of an error in OpenAI's shape; otherwise the beginning of the body."""
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or error.get("message"))[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace")
