"""Counts of the engine, updated at each step."""

from __future__ import annotations

import time

from service.engine.plan import Plan
from service.engine.scheduler import Scheduler
from service.engine.snapshot import QUEUE_S, ROWS, SEQUENCES, STEP_S, EngineSnapshot
from service.support.counting import Spread


class Tally:
    """Updated by the engine's thread; any thread may take a snapshot."""

    def __init__(self, backend: str, fallback: str | None = None) -> None:
        self.failed_steps = 0
        self.failed_rows = 0
        self._backend = backend
        self._fallback = fallback
        self._steps = 0
        self._prompt_tokens = 0
        self._prefix_hit_tokens = 0
        self._step_s = Spread(STEP_S)
        self._rows = Spread(ROWS)
        self._sequences = Spread(SEQUENCES)
        self._queue_s = Spread(QUEUE_S)

    def planned(self, plan: Plan) -> None:
        """A step begins: counts its size, and the sequences that get rows for the first time."""
        now = time.monotonic()
        self._steps += 1
        self._rows.add(plan.rows)
        self._sequences.add(len(plan.chunks))
        for sequence, _, _ in plan.chunks:
            if sequence.queued_at is not None:
                self._queue_s.add(now - sequence.queued_at)
                self._prompt_tokens += sequence.prompt_tokens
                self._prefix_hit_tokens += sequence.cached_tokens
                sequence.queued_at = None

    def stepped(self, seconds: float) -> None:
        """A step succeeded."""
        self._step_s.add(seconds)

    def snapshot(self, scheduler: Scheduler) -> EngineSnapshot:
        running = list(scheduler.running)
        return EngineSnapshot(
            backend=self._backend,
            fallback=self._fallback,
            running_limit=scheduler.limits.running,
            running=len(running),
            waiting=scheduler.waiting,
            kv_blocks_used=scheduler.pool.used,
            kv_blocks_total=scheduler.pool.total,
            steps=self._steps,
            failed_steps=self.failed_steps,
            failed_rows=self.failed_rows,
            preemptions=scheduler.preemptions,
            prefix_hit_tokens=self._prefix_hit_tokens,
            prompt_tokens=self._prompt_tokens,
            step_s=self._step_s.seen(),
            rows=self._rows.seen(),
            sequences=self._sequences.seen(),
            queue_s=self._queue_s.seen(),
            running_digests=_named({sequence.digest for sequence in running}),
            waiting_digests=_named(scheduler.waiting_digests),
        )


def _named(digests: set[str]) -> tuple[str, ...]:
    return tuple(sorted(digests - {""}))
