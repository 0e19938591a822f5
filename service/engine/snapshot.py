"""The engine's state at one moment and its counts, as a plain value without tensors."""

from __future__ import annotations

from dataclasses import dataclass

from service.support.counting import Buckets

STEP_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
QUEUE_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0)
SEQUENCES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Counts are since the engine was created. A sequence is one choice of a request."""

    backend: str
    """How the base's rows are computed, as named by the engine."""
    fallback: str | None
    """Why the native kernels are not used although the setting permits them; None if they are used."""
    running_limit: int
    """Bound on running sequences, and so on adapters of a step."""
    running: int
    waiting: int
    kv_blocks_used: int
    kv_blocks_total: int
    steps: int
    failed_steps: int
    """Runs that raised; their plans were run again in halves."""
    failed_rows: int
    """Sequences that ended because their own rows failed."""
    preemptions: int
    prefix_hit_tokens: int
    """Prompt tokens from the prefix cache at the first admission of their sequences."""
    prompt_tokens: int
    """Prompt tokens of admitted sequences, including cached ones."""
    step_s: Buckets
    rows: Buckets
    """Rows of each step."""
    sequences: Buckets
    """Sequences of each step."""
    queue_s: Buckets
    """Seconds from submission to the first step with rows of the sequence."""
    running_digests: tuple[str, ...]
    """Adapters of running sequences, each once, without the base's empty digest."""
    waiting_digests: tuple[str, ...]
