"""Which bases are served: those that compute on our path what they compute alone; the rest are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PretrainedConfig,
)

from service.engine.kernels.levels import Level
from service.engine.load import load_engine
from service.engine.selfcheck import OWN_TOLERANCE, check_base, own_logits, trial_prompts
from service.errors import BaseUnavailable
from service.settings import EngineOptions
from tests.models import VOCABULARY, tiny_base

from .computing import load, name_of, ways

OPTIONS = EngineOptions(kv_cache_bytes=4 << 20)
_SIZES = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_WINDOW = {**_SIZES, "num_key_value_heads": 2, "sliding_window": 8}

SERVED: list[PretrainedConfig] = [
    MistralConfig(**_WINDOW),
    Gemma2Config(**_WINDOW, head_dim=8),
    Gemma3TextConfig(**_WINDOW, head_dim=8),
    OPTConfig(**_SIZES, ffn_dim=48, word_embed_proj_dim=32),
    GPTNeoXConfig(**_SIZES),
    Phi3Config(**_SIZES, num_key_value_heads=2),
]
REFUSED: list[PretrainedConfig] = [
    BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4),
    FalconConfig(vocab_size=101, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    MambaConfig(vocab_size=101, hidden_size=32, num_hidden_layers=2),
]


def model_of(config: PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().requires_grad_(False)


@pytest.mark.parametrize("config", SERVED, ids=lambda c: c.model_type)
def test_families_with_windows_soft_caps_and_learned_positions_are_served(config: PretrainedConfig) -> None:
    engine = load_engine(model_of(config), OPTIONS, name=config.model_type)
    assert engine.vocab_size == 101


@pytest.mark.parametrize("config", REFUSED, ids=lambda c: c.model_type)
def test_other_architectures_are_refused_by_name(config: PretrainedConfig) -> None:
    with pytest.raises(BaseUnavailable, match=f"my-{config.model_type}.*cannot be served"):
        load_engine(model_of(config), OPTIONS, name=f"my-{config.model_type}")


@pytest.mark.parametrize("way", ways("llama"), ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_self_check_sees_logits_that_are_not_the_models_own(way: Level | None, dtype: torch.dtype) -> None:
    runner: Any = load(tiny_base("llama").to(dtype), OPTIONS, way, "llama").runner
    prompts = trial_prompts(VOCABULARY)
    own = own_logits(tiny_base("llama").to(dtype), prompts, torch.device("cpu"))
    check_base(runner, prompts, own, "llama")
    beyond = 2 * OWN_TOLERANCE[dtype] * own[1].std()
    with pytest.raises(BaseUnavailable, match="llama cannot be served"):
        check_base(runner, prompts, [own[0], own[1] + beyond], "llama")
    # What a leak looks like: the second prompt saw the first.
    leaked = own_logits(tiny_base("llama").to(dtype), [prompts[0], prompts[0] + prompts[1]], torch.device("cpu"))
    with pytest.raises(BaseUnavailable):
        check_base(runner, prompts, leaked, "llama")


def test_eos_and_context_come_from_the_base() -> None:
    engine = load_engine(tiny_base("gpt2"), OPTIONS, name="gpt2")
    assert engine.context_tokens == 256
    assert engine._scheduler.limits.eos == {0}
