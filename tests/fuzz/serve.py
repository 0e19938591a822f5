"""Both planes in one process behind their real listeners, for a fuzzer beside it; serves until its input ends.

python -m tests.fuzz.serve DIRECTORY         (writes one line of JSON: where each listens, and a key for it)
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from adapters_registry.access import Scope
from adapters_registry.api.app import create_app
from adapters_registry.client import RegistryClient
from adapters_registry.edge.bounds import ConnectionLimits, bounds
from adapters_registry.edge.listener import Listener
from adapters_registry.feed import Feed
from adapters_registry.keys import Keys
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service.feedback.store import FeedbackStore
from service.serve.recorder import StoreOwner
from service.serve.recorder_client import RecorderClient
from service.settings import FeedbackOptions
from tests.adapters_registry import artifacts
from tests.service.api.world import key, says, world


async def serve(path: Path) -> None:
    options = FeedbackOptions(enabled=True, gather_s=0.0, wait_s=0.0)
    feed = Feed()
    async with AsyncExitStack() as stack:
        store = FeedbackStore(path / "feedback", options)
        stack.push_async_callback(store.close)
        everybody = key(None, Scope.INFER, Scope.FEEDBACK_WRITE, Scope.FEEDBACK_EXPORT, Scope.SCRAPE)
        recorder = RecorderClient(StoreOwner(lambda: store).answer, 1 << 20)
        gateway = world(path, says("hello world"), feedback=recorder, keys=[everybody]).app
        registry = stack.enter_context(open_registry(path / "registry", Limits(), feed.committed))
        registry.put_base(artifacts.base())
        operator = Keys(registry.metadata).create(None, "all", [*Scope])
        feed.close()  # who waits for a change is answered at once
        apps: dict[str, tuple[ASGIApp, str]] = {
            "gateway": (gateway, str(everybody.text)),
            "registry": (create_app(registry, feed, Limits()), str(operator.key)),
        }
        told = {}
        for name, (app, secret) in apps.items():
            told[name] = {"port": await _listen(app, name, stack), "key": secret}
        port, folder = told["registry"]["port"], artifacts.folder(path / "adapter")
        with RegistryClient(f"http://127.0.0.1:{port}", key=str(operator.key)) as client:
            for _ in range(2):  # a second version, so that there is one to go back to
                await asyncio.to_thread(client.push, folder, "acme", "support", promote=True)
                folder = artifacts.folder(path / "other", weights=artifacts.pack(artifacts.tensors(0.25)))
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _listen(app: ASGIApp, name: str, stack: AsyncExitStack) -> int:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    limits = ConnectionLimits(total=1024, per_address=1024)
    config = Listener(bounds(limits, 16 << 10)).configure(app, lifespan="on" if name == "registry" else "off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))

    async def stop() -> None:
        server.should_exit = server.force_exit = True
        await task

    stack.push_async_callback(stop)
    while not server.started:
        await asyncio.sleep(0.01)
    return int(bound.getsockname()[1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(serve(Path(place)))
