"""The reference backend for every machine: transformers' model with replaced modules and attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.attention import NAME, KVCache, LayerShape, forward_pass
from service.engine.backend import missing
from service.engine.linear import can_pack
from service.engine.mixed import StepState
from service.engine.model import Sites, replace_modules
from service.engine.runner import ModelRunner
from service.errors import BaseUnavailable
from service.settings import EngineOptions


@dataclass(frozen=True, slots=True)
class TorchBackend:
    """See ``service.engine.backend.Backend``. Executes everything that ``BoundAdapter`` can express."""

    name: str
    runner: ModelRunner
    sites: Sites
    dtype: torch.dtype
    device: torch.device
    blocks: int
    capabilities: frozenset[str] = frozenset({LORA, LORA_B_BIAS, LORA_BIAS})

    def supports(self, manifest: Manifest) -> str | None:
        return missing(manifest, self)

    def place(self, adapter: BoundAdapter) -> BoundAdapter:
        return adapter


def torch_backend(model: PreTrainedModel, options: EngineOptions, name: str) -> TorchBackend:
    """A backend over ``model``; ``BaseUnavailable`` if its projections and attention cannot be replaced."""
    weight = next(model.parameters())
    dtype, device = weight.dtype, weight.device
    if device.type == "cuda":
        # cuDNN makes a new plan for every shape of a call, and nearly every step has a new one (docs/decisions.md).
        torch.backends.cuda.enable_cudnn_sdp(False)
    shapes = _attention_shapes(model, device, name)
    # Small products with many adapters are several times faster in float32 than in unpacked bfloat16 on CPUs.
    delta_dtype = torch.float32 if device.type == "cpu" else dtype
    state = StepState(delta_dtype)
    path = "torch, packed bfloat16 linears" if can_pack(weight) else f"torch, {dtype} linears"
    sites = replace_modules(model, state)
    blocks = options.kv_cache_bytes // KVCache.block_bytes(shapes, options.block_tokens, dtype)
    runner = ModelRunner(model, state, KVCache(shapes, blocks, options.block_tokens, dtype, device), device)
    return TorchBackend(path, runner, sites, delta_dtype, device, blocks)


def _attention_shapes(model: PreTrainedModel, device: torch.device, name: str) -> list[LayerShape]:
    """Switches the model to ``paged_attention``; returns the shape of each layer's keys."""
    layers = model.config.num_hidden_layers
    try:
        model.set_attn_implementation(NAME)
    except ValueError as error:
        raise BaseUnavailable(f"{name} cannot be served: {error}") from error
    with torch.inference_mode(), forward_pass(None, None) as run:
        model(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=device), use_cache=False)
    if run.calls != layers or set(run.shapes) != set(range(layers)):
        raise BaseUnavailable(
            f"{name} ({type(model).__name__}) cannot be served: {run.calls} of its {layers} layers use "
            "transformers' AttentionInterface; state-space, hybrid and some older architectures do not"
        )
    return [run.shapes[layer] for layer in range(layers)]
