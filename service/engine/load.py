"""Turns a loaded base into an engine: chooses a backend, checks it against the model, logs which one runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from transformers import PreTrainedModel

from service.engine.backend import BaseBackend
from service.engine.blocks import BlockPool
from service.engine.engine import Engine, EngineLimits
from service.engine.kernels.build import default_cache
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import Level
from service.engine.model import context_tokens, eos_ids
from service.engine.native_backend import native_backend
from service.engine.ridge import MANY, chunk_tokens, measured_ridge
from service.engine.scheduler import SchedulerLimits
from service.engine.selfcheck import check_base, own_logits, trial_prompts
from service.engine.torch_backend import torch_backend
from service.errors import BaseUnavailable
from service.settings import EngineOptions

logger = logging.getLogger(__name__)


def load_engine(
    model: PreTrainedModel,
    options: EngineOptions,
    *,
    name: str,
    base_digest: str = "",
    cache_dir: Path | None = None,
    level: Level | None = None,
) -> Engine:
    """Turn a loaded transformers model into an engine, in place: afterwards the engine owns its weights.

    ``name`` is for messages; ``base_digest`` is part of the prefix cache's keys. ``cache_dir`` is for compiled
    kernels, and ``level`` is their instruction set (None: the best one). Raises ``BaseUnavailable`` for a base that
    this engine would not compute exactly, and with ``backend: native`` if the native backend cannot run.
    """
    began = time.perf_counter()
    device = next(model.parameters()).device
    if model.dtype == torch.float32:
        torch.set_float32_matmul_precision("highest")  # some CUDA images turn TF32 on by an environment variable
    prompts = trial_prompts(model.config.vocab_size)
    own = own_logits(model, prompts, device)
    backend, reason, fallback = _choose(model, options, name, cache_dir or default_cache(), level)
    check_base(backend.runner, prompts, own, name)
    prompt_rows = options.chunk_tokens
    if prompt_rows is None and backend.blocks * options.block_tokens >= MANY:
        prompt_rows = chunk_tokens(measured_ridge(backend.runner, options.block_tokens), options.batch_tokens)
    logger.info(
        "engine ready",
        extra={
            "base": name,
            "backend": backend.name,
            "reason": reason,
            "sites": len(backend.sites.index),
            "kv_blocks": backend.blocks,
            "chunk_tokens": prompt_rows,
            "seconds": round(time.perf_counter() - began, 2),
        },
    )
    if fallback is not None:
        logger.warning("%s", fallback)
    return Engine(
        backend,
        EngineLimits(context_tokens(model.config), model.config.vocab_size, options.waiting),
        SchedulerLimits(
            batch_tokens=options.batch_tokens,
            running=options.running,
            block_tokens=options.block_tokens,
            prefix_cache=options.prefix_cache,
            eos=eos_ids(model),
            base_digest=base_digest,
            chunk_tokens=prompt_rows,
        ),
        BlockPool(backend.blocks - 1),  # the last one is for trials of adapters
        fallback=fallback,
    )


def _choose(
    model: PreTrainedModel, options: EngineOptions, name: str, cache: Path, level: Level | None
) -> tuple[BaseBackend, str, str | None]:
    """The backend, the reason for it, and a warning if it is not the fastest one of this CPU."""
    asked = options.backend != "auto"
    if options.backend == "torch":
        return torch_backend(model, options, name), "asked for", None
    try:
        return native_backend(model, options, cache, level), "asked for" if asked else "it can run here", None
    except NativeUnavailable as error:
        if options.backend == "native":
            raise BaseUnavailable(
                f"{name} cannot be served by the native backend: {error}; use --engine.backend auto or torch"
            ) from error
        fallback = f"torch computes instead of the native kernels, which are faster: {error}"
        on_cpu = next(model.parameters()).device.type == "cpu"
        return torch_backend(model, options, name), f"no native backend: {error}", fallback if on_cpu else None
