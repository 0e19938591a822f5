"""Counts references to KV blocks, and finds full blocks that can be reused. Uses no tensor."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence


def chain_hash(previous: bytes, tokens: Sequence[int]) -> bytes:
    """256-bit hash of a full block's tokens and of all tokens before it."""
    return hashlib.sha256(previous + array("q", tokens).tobytes()).digest()


def root_hash(tenant: str, adapter_digest: str, base_digest: str) -> bytes:
    """The root of a chain, so that no block is shared across tenants, adapters or bases."""
    return hashlib.sha256("\0".join((tenant, adapter_digest, base_digest)).encode()).digest()


def front_hash(adapter_digest: str, base_digest: str) -> bytes:
    """The root of the chain of an adapter's own rows, which all tenants that may use the adapter share."""
    return hashlib.sha256("\0".join((adapter_digest, base_digest)).encode()).digest()


class BlockPool:
    """A fixed number of blocks with reference counts.

    ::

        free ──allocate──► held (holders ≥ 1) ──release──► free              (never published)
                             ▲        │ publish(hash)
                             │        └──release──► idle (holders 0, still found by its hash)
                             └──── share ◄───────────┘   idle blocks are taken, oldest first, when free ones run out
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._holders = [0] * total
        self._hash: list[bytes | None] = [None] * total
        self._by_hash: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Number of blocks that ``allocate`` can return now."""
        return len(self._free) + len(self._idle)

    @property
    def used(self) -> int:
        return self.total - self.available

    def match(self, hashes: Iterable[bytes]) -> list[int]:
        """The blocks of the longest known prefix of the chain."""
        found = []
        for block_hash in hashes:
            block = self._by_hash.get(block_hash)
            if block is None:
                break
            found.append(block)
        return found

    def share(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self._holders[block] += 1
            self._idle.pop(block, None)

    def allocate(self, count: int) -> list[int]:
        """``count`` blocks of undefined content; check ``available`` before."""
        assert count <= self.available
        return [self._take() for _ in range(count)]

    def publish(self, block: int, block_hash: bytes) -> None:
        """Make a held block, which must be full and computed, available to ``match``; the first of equals is kept."""
        if block_hash not in self._by_hash and self._hash[block] is None:
            self._hash[block] = block_hash
            self._by_hash[block_hash] = block

    def retract(self, blocks: Iterable[int]) -> None:
        """Remove the hashes of held blocks, so that ``match`` does not find them any more."""
        for block in blocks:
            block_hash = self._hash[block]
            if block_hash is not None:
                del self._by_hash[block_hash]
                self._hash[block] = None

    def release(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self._holders[block] -= 1
            assert self._holders[block] >= 0
            if self._holders[block] == 0:
                if self._hash[block] is None:
                    self._free.append(block)
                else:
                    self._idle[block] = None

    def _take(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            old = self._hash[block]
            assert old is not None
            del self._by_hash[old]
            self._hash[block] = None
        self._holders[block] = 1
        return block

    def __repr__(self) -> str:
        idle = len(self._idle)
        return f"<BlockPool {self.total}: {self.used} held | {idle} idle | {len(self._free)} free>"
