"""One upload's file during the upload: written in chunks, hashed at the same time, ended once."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from adapters_registry.blobs.disk import Disk, translated
from adapters_registry.errors import DigestMismatch, RegistryError, StorageFailed

PIECE_BYTES = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """The target digest of an upload, and where its bytes are staged."""

    tenant: str
    digest: str
    path: Path
    length: int | None
    """Total bytes, as announced by the sender; None if not announced."""


class Room(Protocol):
    """Keeps the counts of staged bytes."""

    def reserve(self, target: Target, size: int) -> None:
        """Count ``size`` more bytes; ``StorageFull`` if there is no room for them."""

    def parked(self, target: Target, size: int) -> None:
        """The upload was interrupted with ``size`` bytes on the disk."""

    def dropped(self, target: Target, size: int) -> None:
        """The upload's file was removed, or moved into a store."""


class Upload:
    """Belongs to one request. Ends with one ``park`` or ``discard``; after either, both do nothing.

    Has its own lock: a request that is cancelled ends its upload while its last write still runs.
    """

    def __init__(self, target: Target, file: BinaryIO, room: Room, disk: Disk) -> None:
        self.target = target
        self.size = 0
        """Bytes so far."""
        self._file = file
        self._room = room
        self._disk = disk
        self._hash = hashlib.sha256()
        self._lock = threading.RLock()
        self._ended = False

    def reread(self, size: int) -> None:
        """Continue after the ``size`` bytes of the file, which are already counted. A failure leaves nothing."""
        self.size = size
        with self._guarded(), self.target.path.open("rb") as file:
            found = 0
            while piece := file.read(PIECE_BYTES):
                self._hash.update(piece)
                found += len(piece)
            if found != size:
                raise StorageFailed(
                    f"The staged file of {self.target.digest} has {found} bytes, not {size}: send all of it again.",
                    retry_after_s=1,
                )

    def write(self, chunk: bytes) -> None:
        """A failure leaves nothing."""
        with self._guarded():
            if self._ended:
                return  # its request is cancelled
            self._room.reserve(self.target, len(chunk))
            self.size += len(chunk)
            self._disk.write(self._file, chunk)
            self._hash.update(chunk)

    def seal(self) -> None:
        """At the end: check and fsync the bytes, so that a store may take the file. A failure leaves nothing."""
        with self._guarded():
            found = f"sha256:{self._hash.hexdigest()}"
            if found != self.target.digest:
                raise DigestMismatch(
                    f"The uploaded bytes are {found}, not {self.target.digest}: send the file again.", param="digest"
                )
            self._disk.sync(self._file)
            self._file.close()

    def park(self) -> None:
        """Keep the received bytes on the disk, to be continued. A failure leaves nothing."""
        with self._lock:
            if self._ended:
                return
            if not self.size or not self.target.path.exists():  # a store may have moved it before it failed
                self.discard()
                return
            with self._guarded():
                if not self._file.closed:
                    self._disk.sync(self._file)
                    self._file.close()
            self._ended = True
            self._room.parked(self.target, self.size)

    def discard(self) -> None:
        """Also after a store moved the file."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._file.close()
            remove(self._disk, self.target.path)
            self._room.dropped(self.target, self.size)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                with translated():
                    yield
            except RegistryError:
                self.discard()
                raise


def remove(disk: Disk, path: Path) -> None:
    """Removes a staged file that is not needed any more. A failure is only logged: the next start tries again."""
    try:
        disk.unlink(path)
    except OSError as error:
        _log.error("a staged file could not be deleted", extra={"path": str(path)}, exc_info=error)
