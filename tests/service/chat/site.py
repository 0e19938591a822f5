"""The real front on a real port, in a thread: scripted answers, and the real feedback store if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.feedback.store import FeedbackStore
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import FeedbackOptions
from service.values import GenerateRequest
from tests.service.api.world import HANG, ScriptedEngine, Step, says, tokenizer, world

BASE = "base says"
SUPPORT = "support: hello 😀\u2028world"
"""With a character that is a line's end to some, though not to server-sent events."""
MINE = "mine: the quick brown fox"
STUCK = "hello world"
"""Said before an answer that never ends stops coming."""


@dataclass
class Site:
    url: str
    engine: ScriptedEngine

    def prompts(self) -> list[str]:
        """What was asked so far, as the chat template wrote it."""
        return [tokenizer().decode(list(request.prompt)) for request in self.engine.requests]

    def feedback(self) -> list[dict[str, Any]]:
        """What the service has recorded."""
        return list(httpx.get(f"{self.url}/v1/feedback").raise_for_status().json()["data"])


def script(request: GenerateRequest) -> list[Step]:
    """Each adapter says its own; a message that ends in STOP is answered for ever."""
    said = {"support": SUPPORT, "mine": MINE}[request.adapters.parts[0].name] if request.adapters else BASE
    if tokenizer().decode(list(request.prompt)).endswith("STOP<|im_end|>\n<|im_start|>assistant\n"):
        return [*says(STUCK)(request)[:-1], HANG]
    return list(says(said)(request))


@contextlib.contextmanager
def site(path: Path, *, feedback: bool = True) -> Iterator[Site]:
    """Serves until the block ends."""
    ready: Future[tuple[Site, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        options = FeedbackOptions(enabled=True, segment_bytes=1 << 20, gather_s=0.0)
        store = FeedbackStore(path / "feedback", options)
        client = RecorderClient(StoreOwner(lambda: store).answer, 1 << 20) if feedback else None
        front, stop = world(path, script, feedback=client), asyncio.Event()
        async with front.serving() as url:
            ready.set_result((Site(url, front.engine), asyncio.get_running_loop(), stop))
            await stop.wait()
        await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        found, loop, stop = ready.result(30)
        try:
            yield found
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
