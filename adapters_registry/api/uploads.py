"""Bytes in and out over HTTP, off the event loop, with bounds on size and waiting time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.requests import ClientDisconnect

from adapters_registry.api.parts import Part, too_large
from adapters_registry.blobs.intake import Finished, keep
from adapters_registry.blobs.staging import Staging
from adapters_registry.blobs.store import BlobStore
from adapters_registry.blobs.upload import PIECE_BYTES, Upload
from adapters_registry.errors import InvalidValue, RegistryError, TruncatedUpload, UploadTimeout
from adapters_registry.settings import Limits

_BROKEN_OFF = (TruncatedUpload, UploadTimeout, asyncio.CancelledError)
"""Failures after which the received bytes are still valid and are kept to be continued."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """How far an upload is."""

    size: int
    """Bytes stored."""
    complete: bool
    """The store has the whole blob."""
    new: bool = False
    """The tenant did not hold it before. Whether another tenant did is not revealed."""
    length: int | None = None
    """Total bytes, if the sender announced them."""


class Uploads:
    """The uploads in progress. The callables given to it run on worker threads."""

    def __init__(
        self,
        blobs: BlobStore,
        staging: Staging,
        limits: Limits,
        finished: Finished = lambda tenant, digest, size: None,
        holds: Callable[[str, str], bool] = lambda tenant, digest: True,
        check_room: Finished = lambda tenant, digest, size: None,
    ) -> None:
        self._blobs = blobs
        self._staging = staging
        self._limits = limits
        self._finished = finished
        self._holds = holds
        """Whether a tenant may learn that a digest is stored; to know the digest is not enough."""
        self._check_room = check_room
        """Raises before the bytes are received if there is no room for that many."""

    def state(self, tenant: str, digest: str) -> State | None:
        """Blocking; None if nothing was received yet."""
        size = self._blobs.size(digest) if self._holds(tenant, digest) else None
        if size is not None:
            return State(size, complete=True, length=size)
        partial = self._staging.partial(tenant, digest)
        return None if partial is None else State(partial.size, complete=False, length=partial.target.length)

    async def receive(self, request: Request, tenant: str, digest: str, part: Part) -> State:
        """Store the body under ``digest``, or keep it as a partial upload if more is to come.

        After a broken connection the received bytes are kept; after any other failure nothing is kept.
        """
        upload = await asyncio.to_thread(self._open, tenant, digest, part)
        try:
            await self._copy(request, upload)
            _check_end(upload.size, part, upload.target.length)
        except BaseException as error:
            await _end(upload.park if isinstance(error, _BROKEN_OFF) else upload.discard)
            raise
        if not part.complete:
            await asyncio.to_thread(upload.park)
            return State(upload.size, complete=False, length=upload.target.length)
        held = await asyncio.to_thread(self._keep, tenant, digest, upload)
        return State(upload.size, complete=True, new=not held, length=upload.size)

    def _keep(self, tenant: str, digest: str, upload: Upload) -> bool:
        """Whether the tenant held it before."""
        held = self._holds(tenant, digest)
        keep(upload, self._staging, self._blobs, self._finished)
        return held

    def _open(self, tenant: str, digest: str, part: Part) -> Upload:
        self._check_room(tenant, digest, max(part.length or 0, part.offset + (part.announced or 0)))
        if part.begins:
            return self._staging.begin(tenant, digest, part.length)
        return self._staging.resume(tenant, digest, part.offset, part.length)

    async def _copy(self, request: Request, upload: Upload) -> None:
        """Bytes received before a break are written too."""
        piece = bytearray()
        try:
            async for chunk in _patiently(request, self._limits):
                piece += chunk
                if upload.size + len(piece) > self._limits.upload_bytes:
                    raise too_large(self._limits.upload_bytes)
                if len(piece) >= PIECE_BYTES:
                    await asyncio.to_thread(upload.write, bytes(piece))
                    piece.clear()
        except (TruncatedUpload, UploadTimeout):
            await asyncio.to_thread(upload.write, bytes(piece))
            raise
        if piece:
            await asyncio.to_thread(upload.write, bytes(piece))


async def send(blobs: BlobStore, digest: str) -> AsyncIterator[bytes]:
    """The blob in chunks."""
    file = await asyncio.to_thread(blobs.open, digest)
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


def _check_end(size: int, part: Part, length: int | None) -> None:
    """``size`` bytes of the upload are stored now, of ``length`` in total as this or an earlier request announced."""
    received = size - part.offset
    if part.announced is not None and received != part.announced:
        raise TruncatedUpload(
            f"The body ended after {received} of {part.announced} bytes: go on at Upload-Offset {size}."
        )
    if length is not None and size > length:
        raise InvalidValue(f"The upload has {size} bytes, over {length}.", param="Upload-Length")
    if length is not None and part.complete and size < length:
        raise TruncatedUpload(f"{size} of {length} bytes came: go on at Upload-Offset {size}.")


async def _end(how: Callable[[], None]) -> None:
    """Runs also when the request is cancelled; a failure here must not hide the one that caused it."""
    try:
        await asyncio.shield(asyncio.to_thread(how))
    except RegistryError as error:
        _log.error("an interrupted upload could not be suspended", extra={"code": error.code}, exc_info=error)


async def _patiently(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Bounds each wait for the sender and, depending on the bytes received, the sum of all waits."""
    stream, received, waited_s = request.stream(), 0, 0.0
    loop = asyncio.get_running_loop()
    while True:
        patience_s = patience(received, waited_s, limits)
        began = loop.time()
        try:
            async with asyncio.timeout(patience_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadTimeout(
                f"Nothing came for {patience_s:.3g} s, and {received} bytes in {waited_s + patience_s:.3g} s: "
                "HEAD returns the offset to continue from."
            ) from None
        except ClientDisconnect:
            raise TruncatedUpload(
                "The connection closed before the body's end: HEAD returns the offset to continue from."
            ) from None
        waited_s += loop.time() - began
        received += len(chunk)
        yield chunk


def patience(received: int, waited_s: float, limits: Limits) -> float:
    """How long to wait for the next bytes of a sender that has already taken ``waited_s``."""
    if not limits.slowest_bytes_per_s:
        return limits.idle_s
    return max(0.0, min(limits.idle_s, limits.idle_s + received / limits.slowest_bytes_per_s - waited_s))
