"""From a PEFT folder to an engine's adapter, by the way the product goes: registry, then engine."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel

from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine


def bound_adapter(engine: Engine, base: PreTrainedModel, folder: Path) -> BoundAdapter:
    """The artifact in ``folder`` as batch rows point at it; ``base`` is the untouched model."""
    manifest = manifest_of(base, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    return engine.bind(manifest.digest, manifest.kind, engine.canonicalise(manifest, tensors))
