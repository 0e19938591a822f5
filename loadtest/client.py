"""One streamed request to an OpenAI-compatible server, read as its reader reads, told as a sample."""

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
from loadtest.scenario import HangsUp, Patient, Reading, Slow, UntilEnd, Work

TIMEOUT = httpx.Timeout(connect=10, read=120, write=10, pool=None)
"""A server that says nothing for so long has failed the request."""
PATIENCE_S = 60.0
"""An answer that has not ended so long after its phase has failed: a run ends, however slow the service."""
SLOW_WINDOW_BYTES = 2048
"""A slow reader's receive buffer: with the system's own, a whole answer would fit into it unread."""
SLOW_TICK_S = 0.5
DONE = b"data: [DONE]"

Clock = Callable[[], float]
Extra = dict[str, dict[str, Any]]
"""By model: what its requests say besides, for servers that choose adapters in ways of their own."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and where it belongs."""

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
    """Makes the prompt one that no other request has."""
    tenant: str | None = None
    prompt: str | None = None
    """Names the prompt where others have it too."""


@dataclass
class _Heard:
    """What is known of an answer while it comes."""

    status: int | None = None
    adapter: str | None = None
    times: list[float] = field(default_factory=list)
    tokens: int | None = None
    text: hashlib._Hash = field(default_factory=hashlib.sha256)
    complete: bool = False
    left: bool = False
    error: str | None = None


class Client:
    """Connections of its own for every request in flight: none waits for another's."""

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
        """Makes this run's prompts others than an earlier run's: a prefix cache must not help."""
        self._extra = extra or {}
        self._keys = keys or {}
        """By tenant."""

    async def ask(self, ask: Ask) -> Sample:
        """Never raises for what the server does: a failure is a sample as well."""
        heard = _Heard()
        sent_s = self.clock()
        http = self._slow if isinstance(ask.reading, Slow) else self.http
        try:
            async with (
                asyncio.timeout(None if math.isinf(ask.until_s) else ask.until_s + PATIENCE_S - sent_s),
                http.stream("POST", "completions", json=self._body(ask), headers=self._headers(ask)) as response,
            ):
                heard.status, heard.adapter = response.status_code, response.headers.get("x-adapter")
                if response.status_code != 200:
                    heard.error = f"{response.status_code} {_code(await response.aread())}"
                else:
                    await self._read(response, ask, heard)
        except (httpx.HTTPError, httpcore.NetworkError) as error:
            heard.error = type(error).__name__
        except TimeoutError:
            heard.error = f"no end within {PATIENCE_S:g} s of its phase's"
        except ValueError:
            heard.error = "an event that is no JSON"
        return _sample(ask, heard, sent_s, self.clock())

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

    async def _read(self, response: httpx.Response, ask: Ask, heard: _Heard) -> None:
        match ask.reading:
            case Patient():
                await self._events(response, heard, None)
            case HangsUp(after_chunks):
                await self._events(response, heard, after_chunks)
            case UntilEnd():
                try:
                    async with asyncio.timeout(max(0.0, ask.until_s - self.clock())):
                        await self._events(response, heard, None)
                except TimeoutError:
                    heard.left = True
            case Slow(bytes_per_s):
                await self._trickle(response, heard, bytes_per_s, ask.until_s)

    async def _events(self, response: httpx.Response, heard: _Heard, chunks: int | None) -> None:
        """Server-sent events until the end, or until ``chunks`` of them have come."""
        async for line in response.aiter_lines():
            if line == DONE.decode():
                heard.complete = True
            elif line.startswith("data: {"):
                self._event(json.loads(line[6:]), heard)
            if chunks is not None and len(heard.times) >= chunks:
                heard.left = True
                return

    def _event(self, event: dict[str, Any], heard: _Heard) -> None:
        if "error" in event:
            heard.error = f"in the stream: {event['error'].get('code')}"
        if event.get("choices"):
            heard.text.update(str(event["choices"][0].get("text")).encode())
            heard.times.append(self.clock())
        if event.get("usage"):
            heard.tokens = event["usage"]["completion_tokens"]

    async def _trickle(self, response: httpx.Response, heard: _Heard, bytes_per_s: int, until_s: float) -> None:
        """Reads below httpx: it would empty the socket into its own buffers, and nothing would push back."""
        stream: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        heard.times.append(self.clock())
        tail = b""
        while self.clock() < until_s and not heard.complete:
            try:
                piece = await stream.read(max(1, round(bytes_per_s * SLOW_TICK_S)), timeout=SLOW_TICK_S)
            except httpcore.ReadTimeout:
                continue
            if not piece:
                heard.error = "the server closed the connection"
                return
            heard.complete = DONE in tail + piece
            tail = (tail + piece)[-len(DONE) :]
            await asyncio.sleep(SLOW_TICK_S)
        heard.left = not heard.complete


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
    """A client of ``url``, which ends in ``/v1``. Goes there straight: a proxy would be measured as well."""
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
    """Token ids, random from the first one on; the low ones are left out, which are special in most vocabularies."""
    return Random(seed).choices(range(100, work.vocabulary), k=work.prompt_tokens)  # noqa: S311


def _sample(ask: Ask, heard: _Heard, sent_s: float, last_s: float) -> Sample:
    error = heard.error
    if error is None and not heard.left:
        if not heard.complete:
            error = "the stream ended without [DONE]"
        elif heard.tokens is not None and heard.tokens != ask.work.max_tokens:
            error = f"{heard.tokens} tokens instead of {ask.work.max_tokens}"
    end = End.FAILED if error else End.LEFT if heard.left else End.DONE
    times = heard.times
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
        tokens=len(times) if heard.tokens is None else heard.tokens,
        status=heard.status,
        adapter=heard.adapter,
        end=end,
        error=error,
        prompt=ask.prompt,
        answer=heard.text.hexdigest() if end is End.DONE else None,
    )


def _code(body: bytes) -> str:
    """The error's code of OpenAI's shape, or the beginning of whatever else it is."""
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or error.get("message"))[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace")
