"""Traffic that only occupies connections, upload slots and queue places, so that its effect on others is measured."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

DRIP_S = 1.0
"""Time between two bytes of a slow sender."""
RETRY_S = 0.2
FEEDBACK_EVENTS = 20


@dataclass(frozen=True, slots=True)
class SlowUploads:
    """Uploads to the registry at one byte per second."""

    connections: int


@dataclass(frozen=True, slots=True)
class SlowBodies:
    """Generation requests whose body is sent at one byte per second."""

    connections: int


@dataclass(frozen=True, slots=True)
class FeedbackFlood:
    """Feedback on responses that do not exist; each client sends again once it is answered."""

    connections: int


Nuisance = SlowUploads | SlowBodies | FeedbackFlood


@dataclass(frozen=True, slots=True)
class Target:
    """Addresses, and the key to use."""

    url: str
    """Address of the service; ends in /v1."""
    registry: str | None
    key: str | None
    tenant: str


async def bother(nuisance: Nuisance, target: Target, seconds: float) -> None:
    """Repeats the traffic for ``seconds``, regardless of the service's answers."""
    match nuisance:
        case SlowUploads():
            once = _slow_upload
        case SlowBodies():
            once = _slow_body
        case FeedbackFlood():
            once = _feedback

    async def forever() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await once(target)
            await asyncio.sleep(RETRY_S)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(nuisance.connections):
                group.create_task(forever())


async def _slow_upload(target: Target) -> None:
    if target.registry is None:
        return
    digest = hashlib.sha256(secrets.token_bytes(16)).hexdigest()
    head = _head("PUT", target.registry, f"/v1/uploads/{digest}?tenant={target.tenant}", target, 1_000_000_000)
    await _on(target.registry, head, _drip)


async def _slow_body(target: Target) -> None:
    head = _head("POST", target.url, f"{urlsplit(target.url).path}/completions", target, 1000)
    await _on(target.url, head, _drip)


async def _feedback(target: Target) -> None:
    event = {"kind": "binary", "value": True}
    events = [event | {"target": {"response_id": f"cmpl-{secrets.token_hex(16)}"}} for _ in range(FEEDBACK_EVENTS)]
    body = json.dumps({"events": events}).encode()
    head = _head("POST", target.url, f"{urlsplit(target.url).path}/feedback", target, len(body))

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    await _on(target.url, head + body, answered)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends bytes until the service disconnects or answers."""
    answer = asyncio.ensure_future(reader.read(1))
    try:
        while not answer.done():
            writer.write(b" ")
            await writer.drain()
            await asyncio.wait({answer}, timeout=DRIP_S)
    finally:
        answer.cancel()


async def _on(
    url: str, head: bytes, then: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    to = urlsplit(url)
    reader, writer = await asyncio.open_connection(to.hostname, to.port)
    try:
        writer.write(head)
        await then(reader, writer)
    finally:
        writer.close()


def _head(method: str, url: str, path: str, target: Target, length: int) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        f"Content-Type: {'application/json' if method == 'POST' else 'application/octet-stream'}",
        f"Content-Length: {length}",
        *([f"Authorization: Bearer {target.key}"] if target.key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
