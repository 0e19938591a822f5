"""The blocks of a sequence that other sequences with the same beginning share: hashed, found, published."""

from __future__ import annotations

from service.engine.blocks import BlockPool, chain_hash, front_hash, root_hash
from service.engine.sequence import Sequence


class Prefixes:
    """The prefix cache as sequences use it; the pool knows hashes only."""

    def __init__(self, pool: BlockPool, block_tokens: int, base_digest: str, *, enabled: bool) -> None:
        self._pool = pool
        self._block_tokens = block_tokens
        self._base_digest = base_digest
        self._enabled = enabled

    def find(self, sequence: Sequence) -> list[int]:
        """The blocks of the sequence's longest known beginning; nothing holds them yet."""
        if not self._enabled:
            return []
        # The last token is always computed: its row gives the next one.
        usable = (sequence.length - 1) // self._block_tokens
        self._hash_blocks(sequence, usable)
        return self._pool.match(sequence.block_hashes[:usable])

    def publish(self, sequence: Sequence) -> None:
        """Offer the blocks that are full by now."""
        if not self._enabled:
            return
        full = sequence.computed // self._block_tokens
        self._hash_blocks(sequence, full)
        for index in range(sequence.published, full):
            self._pool.publish(sequence.blocks[index], sequence.block_hashes[index])
        sequence.published = full

    def _hash_blocks(self, sequence: Sequence, count: int) -> None:
        size = self._block_tokens
        hashes = sequence.block_hashes
        while len(hashes) < count:
            start = len(hashes) * size
            tokens = sequence.tokens_at(start, start + size)
            hashes.append(chain_hash(self._previous_hash(sequence, start), tokens))

    def _previous_hash(self, sequence: Sequence, start: int) -> bytes:
        """What the hash of the block at position ``start`` is chained to.

        Blocks of nothing but the adapter's own rows hold no tenant's text: all that may use the adapter share them.
        """
        size, base = self._block_tokens, self._base_digest
        own = sequence.front // size * size
        if start == 0 and own:
            return front_hash(sequence.digest, base)
        if start == own:
            return root_hash(sequence.tenant, sequence.digest, base)
        return sequence.block_hashes[-1]
