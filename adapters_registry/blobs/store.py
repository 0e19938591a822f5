"""The seam to bytes: whole and checked under their digest, or absent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

BLOB_NAME = re.compile(r"[0-9a-f]{64}")
"""How a store's names end. It lists nothing else: what lies beside was put there by somebody else, and stays."""


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

        Their name survives power loss afterwards. The store may take the file away; whoever staged it removes it
        otherwise. The staged bytes were checked against ``digest`` and are on the disk.
        """

    def size(self, digest: str) -> int | None:
        """Bytes of the blob; None if it is not stored."""

    def settle(self, digest: str) -> int:
        """Bytes of the blob, whose name survives power loss from now on; ``BlobNotFound`` if it is not stored."""

    def open(self, digest: str) -> BinaryIO:
        """The blob from its start, seekable; ``BlobNotFound`` if it is not stored. The reader checks the digest."""

    def delete(self, digest: str) -> None:
        """Gone for good, also after power loss; no matter whether it was there."""

    def stored(self) -> Iterator[StoredBlob]:
        """Every blob, in no order; one that comes or goes meanwhile may be missing."""
