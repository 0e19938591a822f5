"""The backend of compiled kernels for Llama-like bases on the CPU: one call per step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.backend import missing
from service.engine.kernels.adapters import AdapterPacker, delta_dtype, site_index
from service.engine.kernels.build import library
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import Level, best_level
from service.engine.kernels.llama import check_architecture, shape_of
from service.engine.kernels.native import Library
from service.engine.kernels.weights import NativeWeights
from service.engine.model import Sites, base_biases, context_tokens
from service.engine.native_runner import NativeRunner
from service.engine.selfcheck import PROMPT_TOKENS
from service.settings import EngineOptions

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class NativeBackend:
    """See ``service.engine.backend.Backend``."""

    name: str
    runner: NativeRunner
    sites: Sites
    dtype: torch.dtype
    blocks: int
    packer: AdapterPacker
    device: torch.device
    capabilities: frozenset[str] = frozenset({LORA, LORA_B_BIAS, LORA_BIAS})

    def supports(self, manifest: Manifest) -> str | None:
        return missing(manifest, self)

    def place(self, adapter: BoundAdapter) -> BoundAdapter:
        return self.packer.pack(adapter)


def native_backend(model: PreTrainedModel, options: EngineOptions, cache: Path, level: Level | None) -> NativeBackend:
    """A backend with the kernels of ``level``, or of the best one; the model's parameters are empty afterwards.

    If it raises ``NativeUnavailable``, the model is unchanged.
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
    runner = NativeRunner(weights, options.block_tokens, options.threads or torch.get_num_threads())
    packer = AdapterPacker(compiled, shape, index)
    return NativeBackend(f"native {level.name}", runner, sites, delta_dtype(shape), blocks, packer, CPU)
