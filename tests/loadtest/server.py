"""A small OpenAI-compatible server, real HTTP in a thread: the model's name says how it behaves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

PADDING = "x" * 16_384
"""In each chunk of an answer with log-probabilities."""
MODELS = ("base", "t/a", "t/b")


@dataclass
class Server:
    """Where it answers, and what it saw."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    """The header ``authorization`` of each."""
    chunks_written: dict[str, int] = field(default_factory=dict)
    """By model, of its last request."""
    running: int = 0
    exposed: bool = True
    """Whether it has /metrics."""
    pause_s: float = 0.002
    hold_until: int = 0
    """Answers wait until so many requests have come: who waits for answers before sending gets none."""
    most_at_once: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/metrics", self.metrics),
            ]
        )

    async def models(self, request: Request) -> Response:
        data = [{"id": name, "parent": None if name == "base" else "base"} for name in reversed(MODELS)]
        return JSONResponse({"object": "list", "data": data})

    async def metrics(self, request: Request) -> Response:
        if not self.exposed:
            return PlainTextResponse("no such path", 404)
        text = f'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{replica="r"}} {self.running}\n'
        return PlainTextResponse(text)

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization"))
        model = body["model"]
        if model == "refuses":
            error = {"message": "full", "type": "overloaded", "param": None, "code": "overloaded"}
            return JSONResponse({"error": error}, 503)
        if model == "rambles":
            return PlainTextResponse("<html>bad gateway</html>", 502)
        named = "t/other@1" if model == "liar" else model if model == "base" else f"{model}@1"
        return StreamingResponse(self.answer(body), headers={"x-adapter": named}, media_type="text/event-stream")

    async def answer(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        model, wanted = body["model"], body["max_tokens"]
        count = wanted - 1 if model == "short" else wanted
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            while len(self.bodies) < self.hold_until:
                await asyncio.sleep(0.01)
            for number in range(count):
                if number == 2 and model == "breaks":
                    yield event({"error": {"message": "gone", "code": "adapter_failed"}})
                    return
                if number == 2 and model == "dies":
                    raise ConnectionAbortedError
                if number == 2 and model == "garbles":
                    yield b"data: {not json\n\n"
                yield event({"choices": [{"text": PADDING if body.get("logprobs") else "x"}], "usage": None})
                self.chunks_written[model] = number + 1
                await asyncio.sleep(self.pause_s)
            yield event({"choices": [], "usage": {"completion_tokens": count}})
            if model != "stops":
                yield b"data: [DONE]\n\n"
        finally:
            self.running -= 1


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


@contextmanager
def serving() -> Iterator[Server]:
    """Runs until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(server.app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        uvicorn_server = uvicorn.Server(config)
        thread = threading.Thread(target=uvicorn_server.run, args=([listener],))
        thread.start()
        try:
            while not uvicorn_server.started:
                threading.Event().wait(0.01)
            yield server
        finally:
            uvicorn_server.should_exit = True
            thread.join()
