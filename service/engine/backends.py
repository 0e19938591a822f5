"""The two ways to compute a base's steps: torch, everywhere, and the native kernels, where they can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from service.engine.adapter import Delta
from service.engine.attention import NAME, KVCache, LayerShape, forward_pass
from service.engine.engine import DeltaPlace
from service.engine.kernels.adapters import NativeAdapter, delta_dtype, pack_adapter, site_index
from service.engine.kernels.build import library
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import Level, best_level
from service.engine.kernels.llama import check_architecture, shape_of
from service.engine.kernels.native import Library
from service.engine.kernels.weights import NativeWeights
from service.engine.linear import StepState, can_pack
from service.engine.model import Sites, base_biases, context_tokens, replace_projections
from service.engine.native_runner import NativeRunner
from service.engine.runner import ModelRunner
from service.engine.selfcheck import PROMPT_TOKENS
from service.errors import BaseUnavailable
from service.settings import EngineOptions


@dataclass(frozen=True, slots=True)
class Backend:
    """What computes, and where adapters go."""

    name: str
    """For logs and metrics."""
    runner: ModelRunner | NativeRunner
    sites: Sites
    place: DeltaPlace
    blocks: int
    """KV blocks."""


def native_backend(model: PreTrainedModel, options: EngineOptions, cache: Path, level: Level | None) -> Backend:
    """The compiled kernels of the best level, or of ``level``; the model's parameters are empty afterwards.

    Raises ``NativeUnavailable`` before anything of the model is changed.
    """
    if options.block_tokens % 16 and options.block_tokens not in (2, 4, 8):
        raise NativeUnavailable(f"blocks of {options.block_tokens} tokens; they are 2, 4, 8 or a multiple of 16")
    check_architecture(model)
    longest = max(context_tokens(model.config), max(PROMPT_TOKENS))
    shape = shape_of(model, longest)
    level = level or best_level()
    compiled = Library(library(level, cache))
    index = site_index(shape)
    sites = Sites(index, base_biases(model, index))
    weights = NativeWeights(compiled, shape, options.block_tokens)
    blocks = weights.allocate_blocks(options.kv_cache_bytes)
    weights.take(model, min(longest, max(blocks * options.block_tokens, *PROMPT_TOKENS)))

    def finish(digest: str, deltas: Sequence[Delta | None], _: int) -> NativeAdapter:
        return pack_adapter(compiled, shape, digest, deltas, index)

    return Backend(
        f"native {level.name}",
        NativeRunner(weights, options.block_tokens, options.threads or torch.get_num_threads()),
        sites,
        DeltaPlace(delta_dtype(shape), torch.device("cpu"), finish),
        blocks,
    )


def torch_backend(model: PreTrainedModel, options: EngineOptions, name: str) -> Backend:
    """transformers' own model with our projections and attention; ``BaseUnavailable`` if it has neither."""
    weight = next(model.parameters())
    dtype, device = weight.dtype, weight.device
    if device.type == "cuda":
        # It plans anew for every shape, and nearly every step has one: steps of 24 ms took up to 100, prompts of
        # 512 and 2048 tokens twice as long (H200, torch 2.11).
        torch.backends.cuda.enable_cudnn_sdp(False)
    shapes = _attention_shapes(model, device, name)
    # Small products with many adapters are several times faster in float32 than in unpacked bfloat16 on CPUs.
    place = DeltaPlace(torch.float32 if device.type == "cpu" else dtype, device)
    state = StepState(place.dtype)
    path = "torch, packed bfloat16 linears" if can_pack(weight) else f"torch, {dtype} linears"
    sites = replace_projections(model, state)
    blocks = options.kv_cache_bytes // KVCache.block_bytes(shapes, options.block_tokens, dtype)
    runner = ModelRunner(model, state, KVCache(shapes, blocks, options.block_tokens, dtype, device), device)
    return Backend(path, runner, sites, place, blocks)


def _attention_shapes(model: PreTrainedModel, device: torch.device, name: str) -> list[LayerShape]:
    """Switch the model to our attention and see what each layer's keys look like."""
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
