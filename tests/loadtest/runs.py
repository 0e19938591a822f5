"""Samples and runs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadtest.samples import End, Run, Sample, Span

DONE = Sample(
    phase="steady",
    round=1,
    flow="base",
    model="base",
    place=0,
    scheduled_s=1.0,
    sent_s=1.0,
    first_s=1.5,
    last_s=3.0,
    gaps_s=(0.5, 1.0),
    tokens=3,
    status=200,
    adapter="base",
    end=End.DONE,
)
FAILED = replace(
    DONE, first_s=None, gaps_s=(), tokens=0, status=503, adapter=None, end=End.FAILED, error="503 overloaded"
)


def run_of(*samples: Sample, spans: Sequence[Span] | None = None) -> Run:
    """One span of ten seconds for each phase and round, if none are given."""
    seen = dict.fromkeys((sample.phase, sample.round) for sample in samples)
    return Run(samples, tuple(spans or [Span(phase, round, 0.0, 10.0) for phase, round in seen]))
