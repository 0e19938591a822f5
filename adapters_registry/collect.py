"""Deletes bytes that nothing holds: condemned in one transaction, deleted, removed from the rows in another.

The race: an upload finds its bytes in the store, and before it has its lease the collector deletes them. Therefore a
row is marked first. Under the writers' lock, the collector condemns blobs that are not held; from then on no upload
can hold them (``uploaded`` raises ``BlobNotFound``, and the bytes are put once more) until the bytes and the row are
deleted. No lock is held while bytes are deleted. Bytes without a row (an upload was killed between the two steps) get
a condemned one.

A collector that ends in between leaves condemned rows. After ``ABANDONED_S`` an upload may use such a blob as it is,
and another collector may condemn it again; so a collector starts no delete later than ``_BEGIN_S`` after condemning.
The slowest delete of a store (two minutes) then still ends in time, also if the processes' clocks differ by a minute.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from adapters_registry.blobs import BlobStore
from adapters_registry.metadata import Metadata
from adapters_registry.rows.blobs import ABANDONED_S, Grace
from adapters_registry.rows.values import now, parts

_BEGIN_S = 100.0
_CONDEMNED = 50
"""Bound on blobs condemned at once."""
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Swept:
    """What was deleted."""

    blobs: int = 0
    bytes: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.blobs + other.blobs, self.bytes + other.bytes)

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Swept:
        return cls(len(sizes), sum(sizes.values()))


def grace(seconds: float) -> Grace:
    """The times of a collection that starts now."""
    ends = now()
    return Grace(ends - timedelta(seconds=seconds), ends, ends - timedelta(seconds=ABANDONED_S))


def sweep(metadata: Metadata, blobs: BlobStore, grace_s: float) -> Swept:
    """Delete blobs that were not held for ``grace_s``, and stored bytes without a row that are as old."""
    with metadata.reading() as rows:
        unheld = rows.blobs.unheld(grace(grace_s))
    swept = Swept()
    for listed in (unheld, *_unknown(metadata, blobs, grace_s)):
        for part in parts(list(listed), _CONDEMNED):
            swept += _delete(metadata, blobs, {digest: listed[digest] for digest in part}, grace(grace_s))
    return swept


def unknown(metadata: Metadata, blobs: BlobStore, grace_s: float) -> Swept:
    """Delete stored bytes that have had no row for ``grace_s``."""
    return sum((Swept.of(listed) for listed in _unknown(metadata, blobs, grace_s)), Swept())


def _delete(metadata: Metadata, blobs: BlobStore, which: Mapping[str, int], times: Grace) -> Swept:
    """Delete those of ``which`` that are still not held. If the store fails, the rest stays condemned for a later
    run."""
    began = time.monotonic()
    gone: dict[str, int] = {}
    with metadata.writing() as rows:
        condemned = rows.blobs.condemn(which, times)
    try:
        for digest, size in condemned.items():
            if time.monotonic() - began > _BEGIN_S:
                break
            blobs.delete(digest)
            gone[digest] = size
    finally:
        with metadata.writing() as rows:
            rows.blobs.forget(gone, times.ends)
    return Swept.of(gone)


def _unknown(metadata: Metadata, blobs: BlobStore, grace_s: float) -> Iterator[dict[str, int]]:
    """Read in portions."""
    before = time.time() - grace_s
    old = [(blob.digest, blob.size) for blob in blobs.stored() if blob.put_at <= before]
    for part in parts(old, _LISTED):
        with metadata.reading() as rows:
            missing = rows.blobs.unknown([digest for digest, _ in part])
        yield {digest: size for digest, size in part if digest in missing}
