"""Compares the engines of two checkouts in bursts, in the order A B B A, so that drift affects both equally.

    git worktree add ../before COMMIT
    python -m loadtest.compare_engine --before ../before --backend native

Prints for each mix of adapters the median ratio after/before of paired bursts with its 95 % bound, and the kernel
calls of one step. The exit code is 1 if the bound exceeds ``--limit`` or a step makes more calls than before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from math import comb
from pathlib import Path

from loadtest.machine import provenance

HERE = Path(__file__).parent
MIXES = ("32:8", "8:8", "32:0")
PAIRS, STEPS, LIMIT = 40, 12, 1.02


@dataclass(frozen=True, slots=True)
class Mix:
    """Number of decoding rows, and of the distinct adapters that they use."""

    batch: int
    adapters: int

    @classmethod
    def of(cls, text: str) -> Mix:
        batch, adapters = map(int, text.split(":"))
        return cls(batch, adapters)


@dataclass(frozen=True, slots=True)
class Compared:
    """Results of both engines with one mix."""

    mix: Mix
    before_s: list[float]
    after_s: list[float]
    before_calls: Counter[str]
    after_calls: Counter[str]

    @property
    def ratios(self) -> list[float]:
        return [after / before for before, after in zip(self.before_s, self.after_s, strict=True)]

    @property
    def more_calls(self) -> Counter[str]:
        return self.after_calls - self.before_calls

    def is_within(self, limit: float) -> bool:
        return upper_bound(self.ratios) <= limit and self.after_calls.total() <= self.before_calls.total()


class Worker:
    """The engine of one checkout in a separate process."""

    def __init__(self, checkout: Path, backend: str, threads: int) -> None:
        command = [sys.executable, "-P", str(HERE / "engine_bursts.py"), backend, str(threads)]
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
        self._process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.backend = str(self._read()["backend"])

    def burst(self, mix: Mix, steps: int) -> float:
        """The median time of a step, in seconds."""
        return float(self._ask(mix, steps)["seconds"])  # type: ignore[arg-type]

    def calls(self, mix: Mix) -> Counter[str]:
        found = self._ask(mix, STEPS, count=1)["calls"]
        assert isinstance(found, dict)
        return Counter(found)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, mix: Mix, steps: int, **more: int) -> dict[str, object]:
        assert self._process.stdin is not None
        ask = {"batch": mix.batch, "adapters": mix.adapters, "steps": steps} | more
        self._process.stdin.write(json.dumps(ask) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the engine's process ended with {self._process.wait()}")
        return dict(json.loads(line))


def compare(before: Worker, after: Worker, mix: Mix, pairs: int, steps: int) -> Compared:
    """Runs ``pairs`` bursts of each, in alternating order: A B, B A."""
    took: dict[Worker, list[float]] = {before: [], after: []}
    for worker in (before, after):
        worker.burst(mix, steps)  # warm-up: buffers grow
    for pair in range(pairs):
        for worker in (after, before) if pair % 2 else (before, after):
            took[worker].append(worker.burst(mix, steps))
    return Compared(mix, took[before], took[after], before.calls(mix), after.calls(mix))


def upper_bound(values: list[float]) -> float:
    """A 95 % upper bound of the median: the smallest order statistic that is above it with that probability."""
    ordered, count = sorted(values), len(values)
    below = 0.0
    for rank in range(count):
        below += comb(count, rank) / 2**count  # probability that at most ``rank`` values are below the median
        if below >= 0.95:
            return ordered[rank]
    return ordered[-1]


def main() -> None:
    """Compare, print a line for each mix, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout")
    parser.add_argument("--after", type=Path, default=HERE.parent, help="a checkout; this one by default")
    parser.add_argument("--backend", choices=("native", "torch"), default="native")
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), metavar="ROWS:ADAPTERS")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of one burst")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, default=LIMIT)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    before, after = (Worker(checkout, args.backend, args.threads) for checkout in (args.before, args.after))
    found = []
    for mix in map(Mix.of, args.mixes):
        found.append(compare(before, after, mix, args.pairs, args.steps))
        print(shown(found[-1]), flush=True)
    before.close()
    after.close()
    if args.out:
        head = provenance() | {"backend": after.backend, "threads": args.threads, "steps": args.steps}
        args.out.write_text(json.dumps(head | {"mixes": list(map(document, found))}, indent=2) + "\n")
    sys.exit(not all(one.is_within(args.limit) for one in found))


def shown(one: Compared) -> str:
    """One mix, for people."""
    ratios = one.ratios
    line = (
        f"{one.mix.batch} rows, {one.mix.adapters} adapters: {1e3 * statistics.median(one.before_s):.2f} ms before, "
        f"{1e3 * statistics.median(one.after_s):.2f} ms after, ratio {statistics.median(ratios):.4f} "
        f"(95 % bound {upper_bound(ratios):.4f}, {len(ratios)} pairs), "
        f"{one.before_calls.total()} calls a step before, {one.after_calls.total()} after"
    )
    more = ", ".join(f"{count} {name}" for name, count in one.more_calls.items())
    return f"{line}; more of {more}" if more else line


def document(one: Compared) -> dict[str, object]:
    """One mix, for programs."""
    return {
        "batch": one.mix.batch,
        "adapters": one.mix.adapters,
        "ratio": statistics.median(one.ratios),
        "upper_bound": upper_bound(one.ratios),
        "before_s": one.before_s,
        "after_s": one.after_s,
        "before_calls": one.before_calls.total(),
        "after_calls": one.after_calls.total(),
    }


if __name__ == "__main__":
    main()
