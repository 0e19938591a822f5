"""The instruction sets that the kernels can be compiled for, best first."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.engine.kernels.errors import NativeUnavailable

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Level:
    """One instruction set: its name, the required processor features, the compiler's flags."""

    name: str
    needs: frozenset[str]
    """Features, by their names in ``/proc/cpuinfo``."""
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
    """The flags of the first processor in ``/proc/cpuinfo``; empty without this file."""
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def compilable_levels() -> tuple[Level, ...]:
    """The levels that can be compiled for on this architecture, best first; none unless it is x86-64 with Linux."""
    return LEVELS if platform.system() == "Linux" and platform.machine() == "x86_64" else ()


def supported_levels() -> tuple[Level, ...]:
    """The levels that this processor can run, best first; may be empty."""
    return tuple(level for level in compilable_levels() if level.needs <= processor_flags())


def best_level() -> Level:
    """The best supported level. Raises ``NativeUnavailable`` if the processor supports none."""
    levels = supported_levels()
    if not levels:
        raise NativeUnavailable(
            f"the processor ({platform.system()} {platform.machine()}) has none of "
            f"{', '.join(level.name for level in LEVELS)}"
        )
    return levels[0]
