"""Uploads on the local disk until a store has them: which are parked, for how long, and the bound on all of them.

    <root>/<tenant>/<64 hex of the digest>.<16 hex>    one upload's bytes, from the first one

             begin                whole, digest right
    (nothing) ──→ in progress ───────────────────────→ in the store
                   ↑     │ interrupted
            resume │     ↓
                   parked ──→ (nothing): expired, evicted, or a longer one of the same bytes is parked

A file in progress belongs to one request. Two simultaneous uploads of the same bytes have separate files; if both are
interrupted, the longer one is kept. After a restart all files are parked; a resume hashes the file again.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from adapters_registry.blobs.disk import Disk, translated
from adapters_registry.blobs.upload import Target, Upload, remove
from adapters_registry.edge.shares import Shares
from adapters_registry.errors import InvalidValue, OffsetMismatch, StorageFull
from adapters_registry.settings import Limits

SMALLEST_BYTES = 1 << 20
"""Least size that a parked file counts with, so that many tiny files reach the bound too."""
_FILE = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{16}")
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Partial:
    """An interrupted upload."""

    target: Target
    size: int
    """Bytes stored."""
    parked_at: float
    """Seconds since the epoch."""

    @property
    def key(self) -> _Key:
        return self.target.tenant, self.target.digest

    @property
    def cost(self) -> int:
        """Bytes that it counts with."""
        return max(self.size, SMALLEST_BYTES)


class Staging:
    """Thread-safe. One process owns ``root``. The lock guards the counts only and is never held in a file
    operation."""

    def __init__(
        self, root: Path, limits: Limits, disk: Disk = Disk(), clock: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self._limits = limits
        self._disk = disk
        self._clock = clock
        self._lock = threading.Lock()
        self._parked: dict[_Key, Partial] = {}
        self._parked_bytes = 0
        self._under_way = Shares(limits.staging_bytes, limits.tenant_share)
        with translated():
            disk.make_directory(root)
            for partial in _found(root):
                self._park(partial)
        self.sweep()

    def begin(self, tenant: str, digest: str, length: int | None = None) -> Upload:
        """An upload from its first byte, also if one is parked."""
        self.sweep()
        place = self._root / tenant / f"{digest.removeprefix('sha256:')}.{secrets.token_hex(8)}"
        with translated():
            self._disk.make_directory(place.parent)
            return Upload(Target(tenant, digest, place, length), self._disk.create(place), self, self._disk)

    def resume(self, tenant: str, digest: str, offset: int, length: int | None = None) -> Upload:
        """The parked upload, which the caller owns from now on; blocking, as its bytes are hashed again.

        Raises ``OffsetMismatch`` unless exactly ``offset`` bytes are parked; ``InvalidValue`` for a different length.
        """
        self.sweep()
        partial = self._take(tenant, digest, offset, length)
        if partial is None:
            return self.begin(tenant, digest, length)
        target = partial.target
        if target.length is None:
            target = Target(tenant, digest, target.path, length)
        try:
            with translated():
                file = self._disk.append(target.path)
        except BaseException:
            remove(self._disk, target.path)
            self.dropped(target, partial.size)
            raise
        upload = Upload(target, file, self, self._disk)
        upload.reread(partial.size)
        return upload

    def partial(self, tenant: str, digest: str) -> Partial | None:
        """The parked upload, if any."""
        self.sweep()
        with self._lock:
            return self._parked.get((tenant, digest))

    def drop(self, tenant: str, digest: str) -> None:
        """Remove the parked upload: the store has the bytes."""
        with self._lock:
            partial = self._parked.get((tenant, digest))
            if partial is not None:
                self._unpark(partial)
        self._remove([partial] if partial is not None else [])

    def sweep(self) -> int:
        """Drop uploads parked longer than ``limits.partial_s`` ago; returns how many."""
        before = self._clock() - self._limits.partial_s
        with self._lock:
            expired = [partial for partial in self._parked.values() if partial.parked_at < before]
            for partial in expired:
                self._unpark(partial)
        self._remove(expired)
        return len(expired)

    @property
    def bytes(self) -> int:
        """Counted bytes: in progress and parked."""
        with self._lock:
            return self._under_way.used + self._parked_bytes

    # Called by uploads

    def reserve(self, target: Target, size: int) -> None:
        bound = self._limits.staging_bytes
        with self._lock:
            if not self._under_way.take(target.tenant, size):
                raise StorageFull(
                    f"Uploads under way would hold over {bound} bytes (limits.staging_bytes), or this tenant's over "
                    "its share of them: come back later.",
                    retry_after_s=30,
                )
            out = evict(self._parked.values(), self._under_way.used + self._parked_bytes - bound)
            for partial in out:
                self._unpark(partial)
        self._remove(out)

    def parked(self, target: Target, size: int) -> None:
        self._park(Partial(target, size, self._clock()))
        self.dropped(target, size)

    def dropped(self, target: Target, size: int) -> None:
        with self._lock:
            self._under_way.give_back(target.tenant, size)

    def _park(self, partial: Partial) -> None:
        """Of two uploads of the same bytes, keep the longer one."""
        with self._lock:
            other = self._parked.get(partial.key)
            if other is None or other.size < partial.size:
                if other is not None:
                    self._unpark(other)
                self._parked[partial.key] = partial
                self._parked_bytes += partial.cost
                loser = other
            else:
                loser = partial
        self._remove([loser] if loser is not None else [])

    def _take(self, tenant: str, digest: str, offset: int, length: int | None) -> Partial | None:
        with self._lock:
            partial = self._parked.get((tenant, digest))
            size = 0 if partial is None else partial.size
            if size != offset:
                raise _mismatch(digest, offset, size)
            if partial is None:
                return None
            if length is not None and partial.target.length not in (None, length):
                raise InvalidValue(
                    f"This upload was to have {partial.target.length} bytes, not {length}.", param="Upload-Length"
                )
            self._unpark(partial)
            self._under_way.add(tenant, partial.size)
        return partial

    def _unpark(self, partial: Partial) -> None:
        """The caller holds the lock."""
        del self._parked[partial.key]
        self._parked_bytes -= partial.cost

    def _remove(self, partials: Iterable[Partial]) -> None:
        for partial in partials:
            remove(self._disk, partial.target.path)


def evict(parked: Collection[Partial], needed: int) -> list[Partial]:
    """Uploads to drop for ``needed`` more bytes: always the oldest of the tenant that holds most, until it is
    enough."""
    if needed <= 0:
        return []
    held: Counter[str] = Counter()
    for partial in parked:
        held[partial.target.tenant] += partial.cost
    left, out = sorted(parked, key=lambda partial: partial.parked_at), []
    while needed > 0 and left:
        tenant = max(held, key=lambda name: held[name])
        victim = next(partial for partial in left if partial.target.tenant == tenant)
        left.remove(victim)
        held[tenant] -= victim.cost
        needed -= victim.cost
        out.append(victim)
    return out


def _mismatch(digest: str, asked: int, offset: int) -> OffsetMismatch:
    error = OffsetMismatch(
        f"{digest} goes on at {offset}, not at {asked}: send the bytes from there, or PUT all of them.",
        param="Upload-Offset",
    )
    error.offset = offset
    return error


def _found(root: Path) -> Iterable[Partial]:
    """Uploads left by an earlier process; other files are not touched."""
    for path in root.glob("*/*"):
        name = _FILE.fullmatch(path.name)
        if name is not None:
            status = path.stat()
            target = Target(path.parent.name, f"sha256:{name[1]}", path, None)
            yield Partial(target, status.st_size, status.st_mtime)
