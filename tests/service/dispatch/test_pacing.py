"""Pacing: the events of many streams gather, those of few do not."""

from __future__ import annotations

from service.dispatch.attempts import Attempts
from service.dispatch.pacing import Pacing, pace_s
from service.values import GenerateRequest, SamplingParams


def test_few_streams_are_told_every_token() -> None:
    assert [pace_s(streams) for streams in (1, 4, 5, 32, 1000)] == [0.0, 0.0, 0.01, 0.064, 0.1]


async def test_requests_that_wait_for_their_first_token_slow_no_stream() -> None:
    attempts = Attempts()
    begun = [attempts.begin(GenerateRequest(str(at), "acme", (1,), SamplingParams(1), 20.0)) for at in range(200)]
    pacing = Pacing(attempts)
    for attempt in begun[:4]:
        attempt.begun = True
    pacing.added(begun[0], last=False)
    assert begun[0].changed.is_set()
    begun[4].begun = True
    pacing.added(begun[1], last=False)
    assert not begun[1].changed.is_set()
