"""Moves aliases by the registry's client while requests run, and records the time of each move."""

from __future__ import annotations

import asyncio
from random import Random

from adapters_registry.client import RegistryClient
from adapters_registry.errors import RegistryError
from loadtest.client import Clock
from loadtest.samples import Moved
from loadtest.scenario import Move, Phase

PRODUCTION = "production"


def planned_moves(
    adapters: tuple[str, ...], versions: int, every_s: float, seconds: float, seed: int
) -> tuple[Move, ...]:
    """One move every ``every_s``, adapters in turn: promotions to random versions, and sometimes a rollback."""
    draw = Random(seed)  # noqa: S311
    moves: list[Move] = []
    promoted: set[str] = set()
    while (at_s := every_s * (len(moves) + 1)) < seconds:
        adapter = adapters[len(moves) % len(adapters)]
        # A rollback needs an earlier promotion.
        back = adapter in promoted and draw.random() < 0.25
        first = 2 if adapter not in promoted else 1
        moves.append(Move(at_s, adapter, None if back else draw.randint(first, versions)))
        promoted.add(adapter)
    return tuple(moves)


async def move_aliases(registry: RegistryClient, phase: Phase, clock: Clock, moved: list[Moved]) -> None:
    """Makes each move at its time, or once the move before it is done."""
    began_s = clock()
    for move in phase.moves:
        await asyncio.sleep(max(0.0, began_s + move.at_s - clock()))
        moved.append(await asyncio.to_thread(_move, registry, move, clock))


def _move(registry: RegistryClient, move: Move, clock: Clock) -> Moved:
    tenant, _, name = move.adapter.partition("/")
    began_s = clock()
    try:
        if move.version is None:
            version = registry.rollback(tenant, name, PRODUCTION).version
        else:
            version = registry.promote(tenant, name, move.version, PRODUCTION).version
    except RegistryError as error:
        return Moved(move.adapter, None, began_s, clock(), str(error))
    return Moved(move.adapter, version, began_s, clock())
