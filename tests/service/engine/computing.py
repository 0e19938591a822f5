"""Every way in which this machine can compute a base: torch, and the native kernels at each level."""

from __future__ import annotations

from service.engine.engine import Engine
from service.engine.kernels.levels import Level, supported_levels
from service.engine.load import load_engine
from service.settings import EngineOptions

NATIVE = supported_levels()
NATIVE_ARCHITECTURES = ("llama", "qwen2")


def ways(architecture: str) -> list[Level | None]:
    """The levels that this base can be computed at; None is torch."""
    return [None, *(NATIVE if architecture in NATIVE_ARCHITECTURES else ())]


def name_of(way: object) -> str | None:
    """A parameter's id."""
    return way.name if isinstance(way, Level) else "torch" if way is None else None


def load(base: object, options: EngineOptions, way: Level | None, name: str = "base") -> Engine:
    """An engine that computes in this way or not at all."""
    asked = options.model_copy(update={"backend": "torch" if way is None else "native"})
    engine = load_engine(base, asked, name=name, level=way)  # type: ignore[arg-type]
    assert engine.snapshot().backend.startswith("torch" if way is None else f"native {way.name}")
    return engine
