"""Closed-loop streaming client of any OpenAI-compatible server: each worker sends when its last answer ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Work:
    """What every request asks for."""

    prompt_tokens: int
    max_tokens: int
    vocabulary: int
    """Prompts are token ids below this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One streamed request."""

    model: str
    tokens: int
    first_token_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """All answers of one run and how long it took."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return sum(answer.tokens for answer in self.answers) / self.seconds


async def closed_loop(url: str, models: Sequence[str], work: Work, *, concurrency: int, requests: int) -> ClosedLoop:
    """Send ``requests`` in all over ``models`` in turn; raises ``RuntimeError`` on any error answer."""
    numbers = iter(range(requests))
    answers: list[Answer] = []
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:

        async def worker() -> None:
            for number in numbers:
                answers.append(await _ask(client, models[number % len(models)], number, work))

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    return ClosedLoop(tuple(answers), time.perf_counter() - began)


async def _ask(client: httpx.AsyncClient, model: str, number: int, work: Work) -> Answer:
    body = {
        "model": model,
        # Every prompt differs from its first token on, so that no prefix cache helps.
        "prompt": [3 + (number * 7919 + at) % (work.vocabulary - 3) for at in range(work.prompt_tokens)],
        "max_tokens": work.max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.perf_counter()
    first: float | None = None
    tokens = 0
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{response.status_code}: {(await response.aread()).decode()[:500]}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(str(chunk["error"]))
            if chunk.get("choices") and first is None:
                first = time.perf_counter() - began
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    if tokens != work.max_tokens or first is None:
        raise RuntimeError(f"{model} answered {tokens} tokens instead of {work.max_tokens}")
    return Answer(model, tokens, first, time.perf_counter() - began)
