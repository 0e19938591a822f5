"""The engine's state at one moment, and what it has done so far: a plain value without a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from service.support.counting import Buckets

STEP_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
QUEUE_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0)
SEQUENCES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Counts are since the engine was made, sequences are choices of requests."""

    backend: str
    """How the base's rows are computed, in the engine's own words."""
    fallback: str | None
    """Why the native kernels do not compute them, where they were wanted if they can run; None: they do."""
    running_limit: int
    """Most sequences that run at once, and so most adapters in one step."""
    running: int
    waiting: int
    kv_blocks_used: int
    kv_blocks_total: int
    steps: int
    failed_steps: int
    """Runs that raised; what they were to compute was run again in halves."""
    failed_rows: int
    """Sequences that ended because their own rows failed."""
    preemptions: int
    prefix_hit_tokens: int
    """Prompt tokens taken from the prefix cache when a sequence was first admitted."""
    prompt_tokens: int
    """Prompt tokens of the sequences admitted, cached ones included."""
    step_s: Buckets
    rows: Buckets
    """Rows of each step: tokens computed."""
    sequences: Buckets
    """Sequences of each step."""
    queue_s: Buckets
    """Seconds from submission to the first step with rows of the sequence."""
    running_digests: tuple[str, ...]
    """Adapters of what runs, each once; the base's empty digest is left out."""
    waiting_digests: tuple[str, ...]
