"""Adapters as PEFT itself saves them: those that are served as PEFT computes them, and those that are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Saved:
    """``settings`` are those of ``LoraConfig``."""

    what: str
    settings: dict[str, Any]
    architecture: str = "llama"
    convert: bool = False
    """Saved by ``save_pretrained(..., path_initial_model_for_weight_conversion=...)``."""
    refused: tuple[str, str] | None = field(default=None)
    """The code, and what it names."""


SUPPORTED = (
    Saved("LoRA on some projections", {"target_modules": ["q_proj", "v_proj"]}),
    Saved("LoRA on a transposed projection (GPT-2)", {"target_modules": ["c_attn"], "fan_in_fan_out": True}, "gpt2"),
    Saved("LoRA on all projections but some", {"target_modules": "all-linear", "exclude_modules": ["down_proj"]}),
    Saved("modules by a pattern", {"target_modules": r".*\.(0|2)\.self_attn\.[qk]_proj"}),
    Saved("modules excluded by a pattern", {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*\.1\..*"}),
    Saved("one layer", {"layers_to_transform": 1}),
    Saved("layers by a pattern", {"layers_to_transform": [0, 2], "layers_pattern": "layers"}),
    Saved("rsLoRA", {"use_rslora": True}),
    Saved(
        "ranks and scales by patterns",
        {"rank_pattern": {r"^model\.layers\.0\..*": 3, "q_proj": 5}, "alpha_pattern": {"1.self_attn.q_proj": 7}},
    ),
    Saved(
        "ranks and scales by patterns, rsLoRA",
        {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {r".*proj": 2.5}, "use_rslora": True},
    ),
    Saved("patterns that match parts of names", {"rank_pattern": {"proj": 6, "elf_attn.q_proj": 7}}),
    Saved("the biases of adapted modules", {"bias": "lora_only"}, "qwen2"),
    Saved("all biases", {"bias": "all", "target_modules": ["c_attn"], "fan_in_fan_out": True}, "gpt2"),
    Saved("biases of B", {"lora_bias": True}, "qwen2"),
    Saved("Gaussian initialisation", {"init_lora_weights": "gaussian"}),
    Saved("orthogonal initialisation", {"init_lora_weights": "orthogonal"}),
    Saved("PiSSA, converted", {"init_lora_weights": "pissa"}, convert=True),
    Saved("PiSSA with rsLoRA, converted", {"init_lora_weights": "pissa", "use_rslora": True}, convert=True),
    Saved("OLoRA, converted", {"init_lora_weights": "olora"}, convert=True),
)
UNSUPPORTED = (
    Saved("DoRA", {"use_dora": True}, refused=("unsupported_field", "use_dora")),
    Saved("modules to save", {"modules_to_save": ["lm_head"]}, refused=("unsupported_field", "modules_to_save")),
    Saved(
        "trained tokens",
        {"trainable_token_indices": [1, 2]},
        refused=("unsupported_field", "trainable_token_indices"),
    ),
    Saved("LoRA on the head", {"target_modules": ["q_proj", "lm_head"]}, refused=("unknown_module", "lm_head")),
    Saved(
        "LoRA on the embedding",
        {"target_modules": ["q_proj", "embed_tokens"]},
        refused=("unknown_module", "model.embed_tokens"),
    ),
    Saved("PiSSA as trained", {"init_lora_weights": "pissa"}, refused=("unsupported_field", "init_lora_weights")),
    Saved("OLoRA as trained", {"init_lora_weights": "olora"}, refused=("unsupported_field", "init_lora_weights")),
    Saved(
        "Activated LoRA", {"alora_invocation_tokens": [3]}, refused=("unsupported_field", "alora_invocation_tokens")
    ),
    Saved(
        "replicated layers",
        {"layer_replication": [(0, 2), (1, 3)]},
        refused=("unsupported_field", "layer_replication"),
    ),
    Saved("a rank above the limit", {"r": 300}, refused=("rank_too_large", "r")),
)
