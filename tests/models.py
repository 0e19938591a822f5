"""Small random bases and random adapters saved by PEFT, for tests that need real weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

VOCABULARY = 211
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "eos_token_id": 0,
    "bos_token_id": 1,
}

CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**_SIZES, num_key_value_heads=2),
    "qwen2": Qwen2Config(**_SIZES, num_key_value_heads=2),
    "gemma": GemmaConfig(**_SIZES, num_key_value_heads=1, head_dim=32),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=3,
        n_head=4,
        n_positions=256,
        initializer_range=0.15,
        eos_token_id=0,
        bos_token_id=1,
    ),
}


def tiny_base(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A float32 model with random weights, biases included, so that nothing is zero by chance."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[architecture]), attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.eval().requires_grad_(False)


def lora_configs(architecture: str) -> list[LoraConfig]:
    """Eight LoRA configurations: ranks 4, 8, 16 and 64, rsLoRA, patterns, single layers, biases."""
    gpt2 = architecture == "gpt2"
    attention, mlp = (["c_attn"], ["c_fc", "c_proj"]) if gpt2 else (["q_proj", "v_proj"], ["gate_proj", "down_proj"])
    wide = attention + mlp
    biased = architecture in ("gpt2", "qwen2")
    common: dict[str, Any] = {"task_type": "CAUSAL_LM", "fan_in_fan_out": gpt2}
    return [
        LoraConfig(r=4, lora_alpha=8, target_modules=attention, **common),
        LoraConfig(r=8, lora_alpha=4, target_modules=wide, use_rslora=True, **common),
        LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", **common),
        LoraConfig(r=64, lora_alpha=32, target_modules=wide, **common),
        LoraConfig(
            r=8,
            lora_alpha=8,
            target_modules=wide,
            rank_pattern={mlp[0]: 16, rf".*\.1\..*{attention[0]}": 4},
            alpha_pattern={mlp[0]: 3},
            **common,
        ),
        LoraConfig(r=16, lora_alpha=8, target_modules=wide, layers_to_transform=[0, 2], **common),
        LoraConfig(r=4, lora_alpha=4, target_modules=wide, bias="all" if biased else "none", **common),
        LoraConfig(r=8, lora_alpha=16, target_modules=attention, lora_bias=biased, use_rslora=True, **common),
    ]


def random_adapter(base: PreTrainedModel, config: LoraConfig, seed: int, strength: float = 0.15) -> PeftModel:
    """A copy of ``base`` under a LoRA adapter none of whose tensors is zero."""
    model = get_peft_model(copy.deepcopy(base), copy.deepcopy(config), autocast_adapter_dtype=False)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or (parameter.requires_grad and name.endswith("bias")):
                noise = torch.randn(parameter.shape, generator=draw) * strength
                parameter.copy_(noise if "lora_" in name else parameter + noise)
    return model.eval()


def save(model: PeftModel, directory: Path) -> Path:
    """The artifact as PEFT writes it."""
    model.save_pretrained(directory)
    return directory


@torch.inference_mode()
def oracle(model: PreTrainedModel | PeftModel, prompt: list[int]) -> tuple[Tensor, float]:
    """PEFT's own logits [tokens, vocabulary] (eager, unmerged) and how far its own ways of computing differ.

    Its ways are eager, sdpa and merged, and on a device also in batches of several sizes.
    """
    ids = torch.tensor([prompt], device=model.device)
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    inner.set_attn_implementation("eager")
    eager = model(input_ids=ids, use_cache=False).logits[0]
    others = []
    if isinstance(model, PeftModel):
        model.merge_adapter()
        others.append(model(input_ids=ids, use_cache=False).logits[0])
        model.unmerge_adapter()
    if model.device.type == "cuda":
        # For short rows sdpa is eager there, bit by bit; products of another number of rows are other kernels.
        others += [model(input_ids=ids.expand(n, -1), use_cache=False).logits[0] for n in (2, 8, 32)]
    inner.set_attn_implementation("sdpa")
    others.append(model(input_ids=ids, use_cache=False).logits[0])
    spread = max(float((other - eager).abs().max()) for other in others)
    return eager, spread
