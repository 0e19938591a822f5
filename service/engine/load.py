"""From a loaded base to an engine: probe, replace, allocate, check."""

from __future__ import annotations

import logging
import time

import torch
from transformers import PreTrainedModel

from service.engine.attention import NAME, KVCache, LayerShape, forward_pass
from service.engine.blocks import BlockPool
from service.engine.engine import DeltaPlace, Engine, EngineLimits
from service.engine.linear import StepState, can_pack
from service.engine.model import context_tokens, eos_ids, replace_projections
from service.engine.runner import ModelRunner
from service.engine.scheduler import SchedulerLimits
from service.engine.selfcheck import check_base, own_logits, trial_prompts
from service.errors import BaseUnavailable
from service.settings import EngineOptions

logger = logging.getLogger(__name__)


def load_engine(model: PreTrainedModel, options: EngineOptions, *, name: str, base_digest: str = "") -> Engine:
    """Turn a loaded transformers model into an engine, in place.

    ``name`` is for messages; ``base_digest`` keys the prefix cache. Raises ``BaseUnavailable`` for a base
    that this engine would not serve exactly.
    """
    began = time.perf_counter()
    weight = next(model.parameters())
    dtype, device = weight.dtype, weight.device
    prompts = trial_prompts(model.config.vocab_size)
    own = own_logits(model, prompts, device)
    shapes = _attention_shapes(model, device, name)
    # Small products with many adapters are several times faster in float32 than in unpacked bfloat16 on CPUs.
    delta_dtype = torch.float32 if device.type == "cpu" else dtype
    state = StepState(delta_dtype)
    path = "torch, packed bfloat16 linears" if can_pack(weight) else f"torch, {dtype} linears"
    sites = replace_projections(model, state)
    blocks = options.kv_cache_bytes // KVCache.block_bytes(shapes, options.block_tokens, dtype)
    runner = ModelRunner(model, state, KVCache(shapes, blocks, options.block_tokens, dtype, device), device)
    check_base(runner, prompts, own, name)
    logger.info(
        "engine ready",
        extra={
            "base": name,
            "path": path,
            "sites": len(sites.index),
            "kv_blocks": blocks,
            "seconds": round(time.perf_counter() - began, 2),
        },
    )
    return Engine(
        runner,
        EngineLimits(context_tokens(model.config), model.config.vocab_size, options.waiting),
        SchedulerLimits(
            batch_tokens=options.batch_tokens,
            running=options.running,
            block_tokens=options.block_tokens,
            prefix_cache=options.prefix_cache,
            eos=eos_ids(model),
            base_digest=base_digest,
        ),
        BlockPool(blocks),
        sites,
        DeltaPlace(delta_dtype, device),
    )


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
