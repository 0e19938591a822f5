"""Meters what hostile JSON costs both planes: memory of each body, CPU by size, and what a neighbour waits.

python -m tests.hostile_json.meter --bodies 10000 > result.json       (about ten minutes; exits with 1 over a limit)
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from tests.hostile_json.bodies import LEAST, MOST, ROUTES, SHAPES, Attack, Route, attacks
from tests.hostile_json.planes import attack, call, planes

PER_BYTE, BESIDES = 100, 2 << 20
"""A body may make a plane grow by so many times its bytes, and so many bytes besides."""
EXPONENT = 1.1
"""CPU may grow with the bytes to this power."""
HEALTH_S = 0.1
"""A neighbour's ``/health`` may take so long meanwhile."""
_FEW = 8
"""Bodies under way at once while a neighbour asks."""
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Cost:
    attack: Attack
    status: int
    growth_bytes: int

    @property
    def share(self) -> float:
        """Of what is allowed."""
        return self.growth_bytes / (PER_BYTE * len(self.attack.body) + BESIDES)


async def grows(apps: dict[str, ASGIApp], one: Attack) -> Cost:
    """How far the resident set went beyond what it was before, with freed memory given back first."""
    gc.collect()
    _LIBC.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _status("VmRSS")
    status = await attack(apps, one)
    return Cost(one, status, max(0, _status("VmHWM") - before))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise LookupError(name)


async def exponent(apps: dict[str, ASGIApp], route: Route, shape: str, place: str | None) -> float:
    """With which power of the size a body's CPU grows: over all sizes or, if that is more, over the larger ones."""
    sizes = [LEAST << step for step in range(0, (MOST // LEAST).bit_length(), 2)] + [MOST - (1 << 12)]
    points = []
    for size in sizes:
        one = Attack(route, shape, place, route.body(shape, size, place))
        points.append((len(one.body), min([await _cpu(apps, one) for _ in range(5)])))
    return max(slope(points), slope(points[-4:]))


def slope(points: list[tuple[int, float]]) -> float:
    """Of the logarithms, by least squares."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


async def _cpu(apps: dict[str, ASGIApp], one: Attack) -> float:
    began = time.process_time()
    await attack(apps, one)
    return time.process_time() - began


async def neighbour_waits(apps: dict[str, ASGIApp], plane: str, several: list[Attack]) -> float:
    """The longest that ``/health`` took while ``several`` were under way at once.

    In CPU time of this process: what else runs on this machine is not the plane's.
    """
    worst = 0.0
    under_way = asyncio.gather(*(attack(apps, one) for one in several))
    while not under_way.done():
        began = time.process_time()
        await asyncio.sleep(0.001)  # also a neighbour's request has a way to go before it is looked at
        await call(apps[plane], "GET", "/health")
        worst = max(worst, time.process_time() - began)
    await under_way
    return worst


async def measure(bodies: int, seed: int, path: Path) -> dict[str, Any]:
    """All three, as a value of JSON; ``within`` says whether every limit was kept."""
    async with planes(path) as apps:
        for route in ROUTES:  # what is made at the first request is not a body's
            await attack(apps, Attack(route, "ints", None, b"{}"))
        gc.collect()
        gc.freeze()  # what is there now need not be looked through for each body
        costs = []
        for one in attacks(seed, bodies):
            cost = await grows(apps, one)
            costs.append((cost.share, cost.status, cost.growth_bytes, str(one)))
        memory = sorted(costs, reverse=True)[:5]
        powers = await _each(lambda route, shape, place: exponent(apps, route, shape, place))
        waits = await _each(
            lambda route, shape, place: neighbour_waits(
                apps, route.plane, [Attack(route, shape, place, route.body(shape, MOST - (1 << 12), place))] * _FEW
            )
        )
    statuses = Counter(status for _, status, _, _ in costs)
    return {
        "bodies": bodies,
        "seed": seed,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "growth_of_allowed": [
            {"share": round(share, 3), "bytes": grown, "what": what} for share, _, grown, what in memory
        ],
        "cpu_exponent": powers[:5],
        "health_s": waits[:5],
        "within": memory[0][0] <= 1 and powers[0][0] <= EXPONENT and waits[0][0] <= HEALTH_S and max(statuses) < 500,
    }


async def _each(measure: Callable[[Route, str, str | None], Awaitable[float]]) -> list[tuple[float, str]]:
    """Each shape on each route, as the whole of the field where most is expected of it; the worst first."""
    found = []
    for route in ROUTES:
        for shape in SHAPES:
            for place in (list(route.fields)[1 if len(route.fields) > 1 else 0], "strange"):
                found.append((round(await measure(route, shape, place), 3), f"{route.path}: {shape} as {place}"))
    return sorted(found, reverse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        result = asyncio.run(measure(options.bodies, options.seed, Path(path)))
    json.dump(result, sys.stdout, indent=1)
    print()
    return 0 if result["within"] else 1


if __name__ == "__main__":
    sys.exit(main())
