"""Which blocks are found again, and by whom."""

from __future__ import annotations

import torch

from service.engine.adapter import FrontRows
from service.engine.blocks import BlockPool
from service.engine.prefixes import Prefixes
from service.engine.sequence import Sequence, sequences_of
from tests.service.engine.simulated import adapter, request

SIZE = 4
TEXT = range(1, 11)
FRONT = FrontRows(torch.zeros(SIZE, 1))


def sequence(tenant: str, digest: str = "a", *, front: bool = False) -> Sequence:
    worn = adapter(digest, FRONT if front else None)
    [found] = sequences_of(request("r", TEXT, tenant=tenant), worn)
    return found


def published(prefixes: Prefixes, pool: BlockPool, one: Sequence) -> list[int]:
    """The blocks of ``one``, all computed and published."""
    one.blocks = pool.allocate(-(-one.length // SIZE))
    one.computed = one.length
    prefixes.publish(one)
    return one.blocks


def test_full_blocks_are_found_by_the_same_tenant_and_adapter_only() -> None:
    pool = BlockPool(8)
    prefixes = Prefixes(pool, SIZE, "base", enabled=True)
    first = sequence("acme")
    blocks = published(prefixes, pool, first)
    assert first.published == 2
    assert prefixes.find(sequence("acme")) == blocks[:2]
    assert prefixes.find(sequence("globex")) == prefixes.find(sequence("acme", "b")) == []
    assert Prefixes(pool, SIZE, "another base", enabled=True).find(sequence("acme")) == []


def test_the_last_token_is_always_computed() -> None:
    pool = BlockPool(8)
    prefixes = Prefixes(pool, SIZE, "base", enabled=True)
    blocks = published(prefixes, pool, sequence("acme"))
    exact = sequence("acme")
    del exact.tokens[8:]
    assert prefixes.find(exact) == blocks[:1]


def test_only_an_adapters_own_rows_are_shared_by_tenants() -> None:
    pool = BlockPool(8)
    prefixes = Prefixes(pool, SIZE, "base", enabled=True)
    blocks = published(prefixes, pool, sequence("acme", front=True))
    assert prefixes.find(sequence("acme", front=True)) == blocks[:3]
    assert prefixes.find(sequence("globex", front=True)) == blocks[:1]


def test_nothing_is_hashed_where_the_cache_is_off() -> None:
    pool = BlockPool(8)
    prefixes = Prefixes(pool, SIZE, "base", enabled=False)
    first = sequence("acme")
    published(prefixes, pool, first)
    assert (first.published, first.block_hashes) == (0, [])
    assert prefixes.find(sequence("acme")) == []
