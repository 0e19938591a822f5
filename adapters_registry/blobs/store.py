"""The protocol of blob stores: a blob is whole and checked under its digest, or absent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

BLOB_NAME = re.compile(r"[0-9a-f]{64}")
"""Names of stored blobs. A store lists nothing else: other files in its directory are not its own and are kept."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob of a store."""

    digest: str
    size: int
    """Bytes."""
    put_at: float
    """Seconds since the epoch; of the last put that replaced it."""


class BlobStore(Protocol):
    """Every method may raise ``StorageFull`` or ``StorageFailed``; all may be called by many threads at once."""

    def put(self, staged: Path, digest: str, size: int) -> bool:
        """Keep the staged file's ``size`` bytes as ``digest``; True if they were not there before.

        The name survives power loss afterwards. The store may move the file away; otherwise the caller removes it.
        The staged bytes must be checked against ``digest`` and synced to disk.
        """

    def size(self, digest: str) -> int | None:
        """Bytes of the blob; None if it is not stored."""

    def settle(self, digest: str) -> int:
        """Bytes of the blob, whose name survives power loss from now on; ``BlobNotFound`` if it is not stored."""

    def open(self, digest: str) -> BinaryIO:
        """The blob from its start, seekable; ``BlobNotFound`` if it is not stored. The reader checks the digest."""

    def delete(self, digest: str) -> None:
        """Deleted also after power loss; does nothing if it is not stored."""

    def stored(self) -> Iterator[StoredBlob]:
        """Every blob, in no order; those added or deleted meanwhile may be missing."""
