"""The engine alone, without HTTP and Ray: decode steps compared with the machine's floor, prompts, memory.

Each round measures every mix of adapters at one batch size in turn, and probes the floor between them, so that drift
of the machine affects all of them equally. Shares of the base's throughput are computed per round.

    python -m loadtest.bench_engine --out loadtest/results/engine.json --plot loadtest/results/engine.png
    python -m loadtest.bench_engine --device cuda --backend torch --random-weights --out engine-cuda.json
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from loadtest.adapters import PROJECTIONS, random_factors
from loadtest.bench_gemm import HIDDEN, KV, LAYERS, MLP, VOCABULARY
from loadtest.floor import WEIGHT_BYTES, Prober
from loadtest.floor_cuda import DeviceProber
from loadtest.machine import provenance
from service.base import load_model, prepare_base
from service.engine.adapter import BoundAdapter
from service.engine.kernels.native import PHASES
from service.engine.load import load_engine
from service.engine.native_runner import NativeRunner
from service.settings import MIB, EngineOptions, Settings
from service.values import GenerateRequest, SamplingParams

BATCHES, MIXES, PROMPTS = (1, 8, 32, 128), (0, 1, 8, 32), (128, 512, 2048)
RANK, PROMPT, STEPS = 16, 64, 48
KV_BYTES_PER_TOKEN = 30 * 2 * 3 * 64 * 2
"""SmolLM2-135M in bfloat16: layers, keys and values, key heads, their size, bytes."""


@dataclass(slots=True)
class Decode:
    """Seconds of decode steps of ``batch`` rows under ``adapters`` distinct adapters, one list per round."""

    batch: int
    adapters: int
    steps: list[list[float]] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)
    """Of one step, as reported by the native backend."""

    @property
    def median_s(self) -> float:
        return statistics.median(second for steps in self.steps for second in steps)

    def shares(self, base: Decode) -> list[float]:
        """Shares of the base's throughput, one per round."""
        return [statistics.median(b) / statistics.median(m) for b, m in zip(base.steps, self.steps, strict=True)]


class FloorProbe(Protocol):
    """Result of a probe."""

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""

    def step_s(self, rows: int, context_bytes: float, adapter_bytes: int) -> float:
        """The least time of a step, in seconds."""


class Floor(Protocol):
    """Probes the cores of the machine, or its device."""

    @property
    def probe(self) -> FloorProbe: ...

    def take(self, rows: Iterable[int]) -> None:
        """One burst of each kind at every row count."""


class Bench:
    """One engine and its adapters."""

    def __init__(self, load: Callable[[], PreTrainedModel], options: EngineOptions) -> None:
        self.rss = {"before the base": _rss()}
        self.device_bytes: dict[str, int] = {}
        model = load()
        self._shapes = {
            name: (module.in_features, module.out_features)
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in PROJECTIONS
        }
        # The dtype that ``canonicalise`` returns (see ``torch_backend``). The native backend casts adapters itself.
        self._dtype = model.dtype if model.device.type == "cuda" else torch.float32
        self.engine = load_engine(model, options, name="base")
        del model
        gc.collect()
        self._note("engine ready")
        self.adapters: list[BoundAdapter] = []
        self._requests = 0
        self._running: list[str] = []
        self.load_adapters()
        self._note(f"and {len(self.adapters)} adapters")

    def load_adapters(self) -> None:
        self.adapters = [self._bound(seed) for seed in range(max(MIXES))]

    def decode(self, batch: int, adapters: int, steps: int = STEPS) -> list[float]:
        """Seconds of each decode step; each context starts with a prompt of 64 tokens."""
        self._ready(batch, steps, adapters)
        took = []
        for _ in range(steps):
            began = time.perf_counter()
            events = self.engine.step()
            took.append(time.perf_counter() - began)
            assert len(events) == batch, f"{len(events)} of {batch} rows decoded"
        self._clear()
        return took

    def phases(self, batch: int, adapters: int) -> dict[str, float]:
        """Seconds of a decode step by phase; empty for a backend that does not report phases."""
        runner = self.engine.runner
        if not isinstance(runner, NativeRunner):
            return {}
        seconds = np.zeros(len(PHASES))
        self._ready(batch, STEPS, adapters)
        runner.phase_s = seconds
        for _ in range(STEPS):
            self.engine.step()
        runner.phase_s = None
        self._clear()
        return dict(zip(PHASES, (seconds / STEPS).tolist(), strict=True))

    def prefill(self, tokens: int) -> float:
        """Seconds until the first token of a prompt, without other sequences."""
        self._submit(tokens, 1, None)
        began = time.perf_counter()
        while not self.engine.step():
            pass
        return time.perf_counter() - began

    def _note(self, when: str) -> None:
        self.rss[when] = _rss()
        if torch.cuda.is_available():
            self.device_bytes[when] = torch.cuda.memory_allocated()

    def _ready(self, batch: int, steps: int, adapters: int) -> None:
        """Starts ``batch`` sequences that decode for at least ``steps`` more steps."""
        self._running = [
            self._submit(PROMPT, steps + batch + 8, self.adapters[row % adapters] if adapters else None)
            for row in range(batch)
        ]
        begun: set[str] = set()
        while len(begun) < batch:
            begun.update(event.request_id for event in self.engine.step())
        self.engine.step()

    def _clear(self) -> None:
        for request_id in self._running:
            self.engine.cancel(request_id)
        self.engine.step()

    def _bound(self, seed: int) -> BoundAdapter:
        draw = torch.Generator().manual_seed(seed)
        tensors = {}
        for module, shape in self._shapes.items():
            a, b = random_factors(shape, RANK, draw)
            a, b = a.to(self._dtype), b.to(self._dtype)
            tensors[f"{module}/a_t"], tensors[f"{module}/b_t"] = a.t().contiguous(), b.t().contiguous()
        return self.engine.bind(f"sha256:{seed:064x}", "lora", tensors)

    def _submit(self, prompt: int, most: int, adapter: BoundAdapter | None) -> str:
        self._requests += 1
        name = str(self._requests)
        sampling = SamplingParams(max_tokens=most, temperature=0, ignore_eos=True)
        tokens = tuple(3 + (self._requests * 977 + at * 31) % 40_000 for at in range(prompt))
        self.engine.submit(GenerateRequest(name, "t", tokens, sampling, deadline_s=600), adapter)
        return name


def main() -> None:
    """Measure, print tables, write the JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument(
        "--adapters", type=int, nargs="+", default=list(MIXES), help="distinct adapters; 0 is the base"
    )
    parser.add_argument("--prompts", type=int, nargs="*", default=list(PROMPTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--unused-pairs", type=int, default=15, help="pairs with and without loaded, unused adapters")
    parser.add_argument("--backend", choices=("auto", "native", "torch"), default="auto")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--random-weights", action="store_true", help="the base's shapes only: where its weights are not at hand"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = EngineOptions(
        backend=args.backend,
        threads=args.threads,
        running=160,
        prefix_cache=False,
        kv_cache_bytes=1024 * MIB,
    )
    load = _random_model if args.random_weights else bundled_model
    bench = Bench(partial(load, args.device), options)
    prober = _prober(args.device, args.threads)
    decodes = measure_decode(bench, prober, args.batches, args.adapters, args.rounds)
    adapter_bytes = bench.adapters[0].nbytes
    prefills = {tokens: [bench.prefill(tokens) for _ in range(args.rounds + 1)][1:] for tokens in args.prompts}
    rows = [_row(decode, decodes, adapter_bytes, prober) for decode in decodes]
    document = provenance() | {
        "backend": bench.engine.snapshot().backend,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "cuda": torch.version.cuda if args.device == "cuda" else None,
        "threads": args.threads,
        "weights": "random" if args.random_weights else "the base's",
        "work": {"rank": RANK, "prompt_tokens": PROMPT, "decode_steps": STEPS, "dtype": "bfloat16"},
        "weight_bytes": WEIGHT_BYTES,
        "adapter_bytes": adapter_bytes,
        "read_bytes_per_s": prober.probe.bandwidth,
        "decode": rows,
        "prefill_s": {str(tokens): took for tokens, took in prefills.items()},
        "unused_adapters_ratio": measure_unused(bench, args.unused_pairs),
        "rss_bytes": bench.rss,
        "device_bytes": bench.device_bytes,
        "probe_s": asdict(prober.probe),  # type: ignore[call-overload]
    }
    print_tables(document)
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n")
    if args.plot:
        from loadtest.plot_engine import draw  # needs the loadtest extra

        draw(document, args.plot)


def bundled_model(device: str) -> PreTrainedModel:
    return load_model(prepare_base(Settings(), _say).path, "bfloat16", device)


def _random_model(device: str) -> PreTrainedModel:
    """SmolLM2-135M's configuration with random weights; the time of a step does not depend on their values."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=MLP, num_hidden_layers=LAYERS,
        num_attention_heads=9, num_key_value_heads=3, head_dim=KV // 3, max_position_embeddings=8192,
        tie_word_embeddings=True, rms_norm_eps=1e-5, rope_parameters={"rope_theta": 1e5, "rope_type": "default"},
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
    return model.to(device).eval().requires_grad_(False)


def _prober(device: str, threads: int) -> Floor:
    return DeviceProber() if device == "cuda" else Prober(threads)


def measure_decode(bench: Bench, prober: Floor, batches: list[int], mixes: list[int], rounds: int) -> list[Decode]:
    """Each batch size with each mix that has no more adapters than rows, ``rounds`` times in turn."""
    decodes = []
    for batch in batches:
        here = [Decode(batch, mix) for mix in mixes if mix <= batch]
        for decode in here:
            bench.decode(batch, decode.adapters, 2)  # warm-up: buffers grow
        for turn in range(rounds):
            prober.take([batch])
            for decode in here if turn % 2 else reversed(here):
                decode.steps.append(bench.decode(batch, decode.adapters))
            _say(f"batch {batch}, round {turn + 1} of {rounds}")
        for decode in here:
            decode.phases_s = bench.phases(batch, decode.adapters)
        decodes += here
    return decodes


def measure_unused(bench: Bench, pairs: int, batch: int = 8) -> list[float]:
    """Throughput of the base with all adapters loaded over that with none, one ratio per pair."""
    ratios = []
    for pair in range(pairs):
        took = {}
        for loaded in (True, False) if pair % 2 else (False, True):
            bench.adapters.clear()
            if loaded:
                bench.load_adapters()
            took[loaded] = statistics.median(bench.decode(batch, 0))
        ratios.append(took[False] / took[True])
    return ratios


def _row(decode: Decode, decodes: list[Decode], adapter: int, prober: Floor) -> dict[str, object]:
    base = next(other for other in decodes if (other.batch, other.adapters) == (decode.batch, decodes[0].adapters))
    context_bytes = decode.batch * (PROMPT + 1 + STEPS / 2) * KV_BYTES_PER_TOKEN
    adapter_bytes = decode.adapters * adapter
    floor = prober.probe.step_s(decode.batch, context_bytes, adapter_bytes)
    return {
        "batch": decode.batch,
        "adapters": decode.adapters,
        "step_ms": 1e3 * decode.median_s,
        "tokens_per_s": decode.batch / decode.median_s,
        "floor_ms": 1e3 * floor,
        "times_the_floor": decode.median_s / floor,
        "bytes": WEIGHT_BYTES + context_bytes + adapter_bytes,
        "share_of_base": decode.shares(base),
        "phases_s": decode.phases_s,
        "steps_s": decode.steps,
    }


def print_tables(document: dict[str, object]) -> None:
    """Tables of the document, for people."""
    console = Console(file=sys.stderr, width=118)
    table = Table(
        "batch", "adapters", "step ms", "tokens/s", "share of the base (min to max)", "MB moved", "floor ms",
        "times the floor", title=f"decode, {document['backend']}: medians",
    )  # fmt: skip
    for row in document["decode"]:  # type: ignore[attr-defined]
        shares = row["share_of_base"]
        table.add_row(
            str(row["batch"]),
            str(row["adapters"]),
            f"{row['step_ms']:.2f}",
            f"{row['tokens_per_s']:.0f}",
            f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
            f"{row['bytes'] / 1e6:.0f}",
            f"{row['floor_ms']:.2f}",
            f"{row['times_the_floor']:.2f}",
        )
    console.print(table)
    phases = Table("batch", "adapters", *PHASES, "other", title="ms of a decode step by phase")
    for row in document["decode"]:  # type: ignore[attr-defined]
        if row["phases_s"]:
            phase_ms = [1e3 * second for second in row["phases_s"].values()]
            rest = row["step_ms"] - sum(phase_ms)
            phases.add_row(str(row["batch"]), str(row["adapters"]), *(f"{ms:.2f}" for ms in [*phase_ms, rest]))
    if phases.row_count:
        console.print(phases)
    for tokens, took in document["prefill_s"].items():  # type: ignore[attr-defined]
        middle = statistics.median(took)
        console.print(f"prompt of {tokens}: {1e3 * middle:.0f} ms, {int(tokens) / middle:.0f} tokens/s")
    unused: list[float] = document["unused_adapters_ratio"]  # type: ignore[assignment]
    if unused:
        low, high = _interval(unused)
        console.print(f"loaded, unused adapters keep {statistics.median(unused):.3f} ({low:.3f} to {high:.3f})")
    for when, size in document["rss_bytes"].items():  # type: ignore[attr-defined]
        console.print(f"resident memory, {when}: {size / MIB:.0f} MiB")
    for when, size in document["device_bytes"].items():  # type: ignore[attr-defined]
        console.print(f"device memory, {when}: {size / MIB:.0f} MiB")


def _interval(values: list[float]) -> tuple[float, float]:
    """A 95 % interval of the median: order statistics by the binomial distribution's normal approximation."""
    ordered, count = sorted(values), len(values)
    reach = 0.98 * count**0.5
    return ordered[max(0, int(count / 2 - reach))], ordered[min(count - 1, int(count / 2 + reach))]


def _rss() -> int:
    return int(psutil.Process().memory_info().rss)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
