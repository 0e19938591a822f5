"""Which bases the native step takes: those of which it knows every weight and every field that changes a result."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config

from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import supported_levels
from service.engine.kernels.llama import shape_of
from service.engine.load import load_engine
from service.engine.selfcheck import own_logits, trial_prompts
from service.errors import BaseUnavailable
from service.settings import EngineOptions
from tests.engines import all_logits, trial
from tests.models import tiny_base

needs_native = pytest.mark.skipif(not supported_levels(), reason="no level of the kernels runs on this processor")
SIZES = {
    "vocab_size": 101,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def model_of(config: PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.2)
    return model


def rope(**fields: object) -> dict[str, object]:
    return {"rope_theta": 10000.0, **fields}


LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
TAKEN = [
    LlamaConfig(**SIZES),
    LlamaConfig(**SIZES, tie_word_embeddings=True),
    LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    LlamaConfig(**SIZES, head_dim=32),
    LlamaConfig(**SIZES, rope_parameters=rope(rope_type="linear", factor=2.0)),
    LlamaConfig(**SIZES, rope_parameters=rope(**LLAMA3, original_max_position_embeddings=32)),
    LlamaConfig(**SIZES, rope_parameters=rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)),
    MistralConfig(**SIZES, sliding_window=None),
    MistralConfig(**SIZES, sliding_window=4096),
    Qwen2Config(**SIZES),
]
REFUSED = [
    (LlamaConfig(**SIZES, hidden_act="gelu"), "activation 'gelu'"),
    (LlamaConfig(**SIZES, rope_parameters=rope(rope_type="dynamic", factor=2.0)), "rotary embedding 'dynamic'"),
    (MistralConfig(**SIZES, sliding_window=64), "a sliding window of 64 tokens"),
    (LlamaConfig(**{**SIZES, "hidden_size": 32}), "heads of 8"),
    (LlamaConfig(**{**SIZES, "intermediate_size": 72}), "intermediate size 72"),
]


@needs_native
@pytest.mark.parametrize("config", TAKEN, ids=lambda c: c.model_type)
def test_logits_are_the_models_own(config: PretrainedConfig) -> None:
    model = model_of(config)
    prompts = trial_prompts(101)
    own = own_logits(copy.deepcopy(model), prompts, torch.device("cpu"))
    engine = load_engine(model, EngineOptions(kv_cache_bytes=1 << 20, backend="native"), name="base")
    ours = all_logits(engine, [trial(number, prompt, None) for number, prompt in enumerate(prompts)])
    for mine, theirs in zip(ours, own, strict=True):
        assert float((mine[-1] - theirs).abs().max()) <= 2e-5 * float(theirs.abs().max())


@pytest.mark.parametrize(("config", "reason"), REFUSED, ids=lambda c: getattr(c, "model_type", None))
def test_what_the_step_would_not_compute_exactly_is_refused(config: PretrainedConfig, reason: str) -> None:
    with pytest.raises(NativeUnavailable, match=reason):
        shape_of(model_of(config), 128)


@pytest.mark.parametrize("architecture", ["gemma", "gpt2"])
def test_other_architectures_are_refused_by_name(architecture: str) -> None:
    with pytest.raises(
        BaseUnavailable, match=r"mine cannot be served by the native backend: (Gemma|GPT2)\w+ is not one of"
    ):
        load_engine(tiny_base(architecture), EngineOptions(kv_cache_bytes=1 << 20, backend="native"), name="mine")


def test_a_weight_that_the_step_does_not_know_is_refused_by_name() -> None:
    model = tiny_base("llama")
    model.model.layers[1].self_attn.q_norm = torch.nn.RMSNorm(16)
    with pytest.raises(NativeUnavailable, match=r"a weight model\.layers\.1\.self_attn\.q_norm\.weight"):
        shape_of(model, 128)


def test_weights_of_mixed_types_are_refused() -> None:
    model = tiny_base("llama")
    model.model.norm.bfloat16()
    with pytest.raises(NativeUnavailable, match=r"model\.norm\.weight is torch\.bfloat16"):
        shape_of(model, 128)


@needs_native
def test_the_models_own_weights_are_let_go() -> None:
    model = tiny_base("llama")
    load_engine(model, EngineOptions(kv_cache_bytes=1 << 20, backend="native"), name="base")
    left = {name.split(".")[-2] for name, parameter in model.named_parameters() if parameter.nbytes}
    assert left == {"input_layernorm", "post_attention_layernorm", "norm"}  # these are copied, not emptied
