"""Bytes in and out over HTTP, off the event loop and bounded in size, number and patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from adapters_registry.blobs import BlobStore, Incoming
from adapters_registry.errors import BodyTooLarge, InvalidValue, Overloaded, TruncatedUpload, UploadTimeout
from adapters_registry.settings import Limits

PIECE_BYTES = 1 << 20


class Uploads:
    """The uploads in flight."""

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self._blobs = blobs
        self._limits = limits
        self._running = 0

    async def receive(self, request: Request, digest: str) -> tuple[bool, int]:
        """Store the body under ``digest``: whether it is new, and its size. A failure leaves nothing."""
        announced = _announced(request, self._limits.upload_bytes)
        if self._running >= self._limits.uploads:
            raise Overloaded(f"{self._running} uploads are under way: come back later.", retry_after_s=1)
        self._running += 1
        try:
            incoming = await asyncio.to_thread(self._blobs.begin)
            try:
                await self._copy(request, incoming)
                if announced is not None and incoming.size != announced:
                    raise TruncatedUpload(
                        f"The body ended after {incoming.size} of {announced} bytes: send the file again."
                    )
                return await asyncio.to_thread(incoming.commit, digest), incoming.size
            finally:
                incoming.abort()  # harmless after a commit; quick, and must also happen when we are cancelled
        finally:
            self._running -= 1

    async def _copy(self, request: Request, incoming: Incoming) -> None:
        piece = bytearray()
        async for chunk in _patiently(request, self._limits.idle_s):
            piece += chunk
            if incoming.size + len(piece) > self._limits.upload_bytes:
                raise _too_large(self._limits.upload_bytes)
            if len(piece) >= PIECE_BYTES:
                await asyncio.to_thread(incoming.write, bytes(piece))
                piece.clear()
        if piece:
            await asyncio.to_thread(incoming.write, bytes(piece))


async def send(blobs: BlobStore, digest: str) -> AsyncIterator[bytes]:
    """The blob in pieces."""
    file = await asyncio.to_thread(blobs.open, digest)
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


async def _patiently(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadTimeout(f"Nothing came for {idle_s:g} s: send the file again.") from None
        except ClientDisconnect:
            raise TruncatedUpload("The connection closed before the body's end: send the file again.") from None
        yield chunk


def _announced(request: Request, limit: int) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isdigit():
        raise InvalidValue("Content-Length is not a number.", param="Content-Length")
    if int(text) > limit:
        raise _too_large(limit)
    return int(text)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"A file has at most {limit} bytes (limits.upload_bytes).")
