"""Hostile JSON makes neither plane grow by more than its bytes justify; the meter itself measures what it says."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.hostile_json import meter
from tests.hostile_json.bodies import MOST, ROUTES, SHAPES, Attack, attacks
from tests.hostile_json.meter import Cost, grows, slope
from tests.hostile_json.planes import attack, planes


async def costs(path: Path, several: Iterable[Attack]) -> list[Cost]:
    async with planes(path) as apps:
        for route in ROUTES:
            await attack(apps, Attack(route, "ints", None, b"{}"))
        gc.collect()
        gc.freeze()
        try:
            return [await grows(apps, one) for one in several]
        finally:
            gc.unfreeze()


def check(found: list[Cost]) -> None:
    worst = max(found, key=lambda cost: cost.share)
    assert worst.share <= 1, worst
    assert [cost for cost in found if cost.status >= 500] == []


async def test_a_body_makes_its_plane_grow_in_proportion(tmp_path: Path) -> None:
    check(await costs(tmp_path, attacks(1, 150, most=1 << 19)))


@pytest.mark.parametrize("plane", ["gateway", "registry"])
async def test_so_does_the_largest_of_every_shape(tmp_path: Path, plane: str) -> None:
    route = next(route for route in ROUTES if route.plane == plane)
    size = (1 << 18) - (1 << 12)
    check(
        await costs(
            tmp_path, [Attack(route, shape, "strange", route.body(shape, size, "strange")) for shape in SHAPES]
        )
    )


@pytest.mark.slow
@pytest.mark.timeout(7200)
async def test_so_do_ten_thousand_bodies_in_cpu_too_and_a_neighbour_does_not_wait(tmp_path: Path) -> None:
    result = await meter.measure(10_000, 1, tmp_path)
    print(json.dumps(result, indent=1))
    assert result["within"]


def test_the_generator_gives_the_same_bodies_again() -> None:
    assert list(attacks(7, 30)) == list(attacks(7, 30))
    assert all(len(one.body) <= MOST for one in attacks(7, 30))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_points(power: float) -> None:
    assert math.isclose(slope([(size, 3 * size**power) for size in (1, 10, 100, 1000)]), power)
