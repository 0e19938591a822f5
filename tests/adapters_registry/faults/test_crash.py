"""A registry killed at every write, sync, rename, unlink, truncation, creation of a file: what it had acknowledged is
there, what it had not is there whole or not at all, and it goes on."""

from __future__ import annotations

import itertools
import signal
from collections import Counter

import pytest

from tests.adapters_registry.faults.script import OPERATIONS
from tests.adapters_registry.faults.shim import KILL, TEAR
from tests.adapters_registry.faults.verdict import check
from tests.sampling import sample

pytestmark = pytest.mark.acceptance
SAMPLE = 12
"""Kills in the default run, spread over the life."""


def test_the_life_does_everything_there_is(calls, states):
    assert {call.name for call in calls} - {"nothing"} == {
        "write",
        "sync",
        "rename",
        "unlink",
        "truncate",
        "create",
        "mkdir",
        "touch",
    }
    assert len(calls) >= 300
    assert all(one != other for one, other in itertools.pairwise(states)), "every operation is seen"


def kill_and_check(lives, states, points) -> None:
    """Kills before or, if it writes, in the middle of each of the calls ``points``."""
    for point in points:
        directory, done, status = lives.live(TEAR if point % 2 else KILL, point)
        assert status == -signal.SIGKILL, f"call {point} was never reached"
        check(directory, max(done, 0), states)


def test_killed_at_a_sample_of_calls(lives, states, calls):
    kill_and_check(lives, states, sample(range(1, len(calls) + 1), SAMPLE, "kills"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_every_call(lives, states, calls):
    kill_and_check(lives, states, range(1, len(calls) + 1))
    kinds = Counter(call.name for call in calls)
    print(f"killed at each of {len(calls)} calls of {len(OPERATIONS)} operations: {dict(kinds)}")
    assert len(calls) >= 300
