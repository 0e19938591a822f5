"""Which instruction sets the kernels can be compiled for here, best first."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.engine.kernels.errors import NativeUnavailable

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Level:
    """One instruction set: what it is called, what the processor must have, what the compiler is told."""

    name: str
    needs: frozenset[str]
    """As ``/proc/cpuinfo`` names them."""
    flags: tuple[str, ...]


_AVX2 = ("-mavx2", "-mfma", "-mf16c", "-mbmi2")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
_NEEDS_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi2"})
_NEEDS_AVX512 = _NEEDS_AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}

LEVELS = (
    Level("avx512bf16", _NEEDS_AVX512 | {"avx512_bf16"}, (*_AVX512, "-mavx512bf16")),
    Level("avx512", _NEEDS_AVX512, _AVX512),
    Level("avx2", _NEEDS_AVX2, _AVX2),
)


@cache
def processor_flags() -> frozenset[str]:
    """What ``/proc/cpuinfo`` says of the first processor; empty where there is no such file."""
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def compilable_levels() -> tuple[Level, ...]:
    """The levels that a compiler of this kind of machine knows, best first; none where it is no x86-64 with Linux."""
    return LEVELS if platform.system() == "Linux" and platform.machine() == "x86_64" else ()


def supported_levels() -> tuple[Level, ...]:
    """The levels that this processor can run, best first; may be empty."""
    return tuple(level for level in compilable_levels() if level.needs <= processor_flags())


def best_level() -> Level:
    """``NativeUnavailable`` where the processor has none."""
    levels = supported_levels()
    if not levels:
        raise NativeUnavailable(
            f"the processor ({platform.system()} {platform.machine()}) has none of "
            f"{', '.join(level.name for level in LEVELS)}"
        )
    return levels[0]
