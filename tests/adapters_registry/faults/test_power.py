"""The power goes at any moment of a registry's life, and with it all that was not synced: what it had acknowledged is
there, what it had not is there whole or not at all, and it goes on."""

from __future__ import annotations

import random
import shutil

import pytest

from tests.adapters_registry.faults.power import Disk
from tests.adapters_registry.faults.verdict import check
from tests.sampling import sample

pytestmark = pytest.mark.acceptance
SAMPLE = 8


def lose_power_and_check(calls, states, start, tmp_path, points) -> int:
    """After each of the calls ``points``, once with nothing kept that was not synced, once with some; how often."""
    (root,) = {call.path for call in calls if call.name == "touch" and call.path.name == "life"}
    disk, done, losses = Disk(root, start), -1, 0
    for number, call in enumerate(calls, 1):
        disk.apply(call)
        done += (call.name, call.path) == ("touch", root)
        if number not in points:
            continue
        for kept in (None, random.Random(number)):
            left = tmp_path / "left"
            shutil.rmtree(left, ignore_errors=True)
            disk.write(left, kept)
            try:
                check(left, max(done, 0), states)
            except Exception as error:
                error.add_note(f"power lost after call {number}, {call.name} {call.path}, {kept and 'some kept'}")
                raise
            losses += 1
    return losses


def test_power_lost_after_a_sample_of_calls(calls, states, start, tmp_path):
    points = sample(range(1, len(calls) + 1), SAMPLE, "losses of power")
    assert lose_power_and_check(calls, states, start, tmp_path, points) == 2 * SAMPLE


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_power_lost_after_every_call(calls, states, start, tmp_path):
    losses = lose_power_and_check(calls, states, start, tmp_path, range(1, len(calls) + 1))
    print(f"{losses} losses of power over {len(calls)} calls")
    assert losses >= 300
