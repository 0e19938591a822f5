"""The prefix cache: hashes, finds and publishes blocks that sequences with the same beginning share."""

from __future__ import annotations

from service.engine.blocks import BlockPool, chain_hash, front_hash, root_hash
from service.engine.sequence import Sequence


class Prefixes:
    """The prefix cache by sequences; the pool knows only hashes."""

    def __init__(self, pool: BlockPool, block_tokens: int, base_digest: str, *, enabled: bool) -> None:
        self._pool = pool
        self._block_tokens = block_tokens
        self._base_digest = base_digest
        self._enabled = enabled

    def find(self, sequence: Sequence) -> list[int]:
        """The cached blocks of the sequence's beginning; they are not held yet."""
        if not self._enabled:
            return []
        # The last token is always computed, because its row gives the next token.
        usable = (sequence.length - 1) // self._block_tokens
        self._hash_blocks(sequence, usable)
        return self._pool.match(sequence.block_hashes[:usable])

    def publish(self, sequence: Sequence) -> None:
        """Publish the sequence's full blocks."""
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
        """The hash to which that of the block at position ``start`` is chained.

        Blocks that contain only rows of the adapter have no text of a tenant, so all tenants that may use the adapter
        share them.
        """
        size, base = self._block_tokens, self._base_digest
        own = sequence.front // size * size
        if start == 0 and own:
            return front_hash(sequence.digest, base)
        if start == own:
            return root_hash(sequence.tenant, sequence.digest, base)
        return sequence.block_hashes[-1]
