"""Adapter folders as other tools write them: what is accepted, what is noted of it, and what needs to be allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters_registry.allowances import NOTHING, Allowances
from tests.adapters_registry.artifacts import EMBEDDING, HEAD, Q0, Q1, bf16, key, tensors

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Written:
    """The adapter of ``artifacts`` as somebody else writes it."""

    what: str
    note: str
    """The code of what is noted."""
    config: dict[str, Any] = field(default_factory=dict)
    arrays: Callable[[], Arrays] = tensors
    allowed: Allowances = NOTHING
    refused: tuple[str, str] | None = None
    """Without what is allowed: the code, and what it names."""


def _renamed(old: str, new: str) -> Callable[[], Arrays]:
    return lambda: {name.replace(old, new): array for name, array in tensors().items()}


def _named(what: str, old: str, new: str) -> Written:
    return Written(what, "names_normalised", arrays=_renamed(old, new))


def _foreign(tool: str, **fields: Any) -> Written:
    return Written(f"fields of {tool}", "foreign_fields", fields)


def _beside(what: str, **copies: np.ndarray) -> Written:
    named = {key(module.replace("__", "."), "weight"): array for module, array in copies.items()}
    return Written(what, "base_copies", arrays=lambda: tensors() | named)


WRITTEN = (
    Written(
        "`target_modules` that also name modules which the base lacks",
        "unmatched_targets",
        {"target_modules": ["q_proj", "w"]},
    ),
    Written("`task_type` of another task", "task_type", {"task_type": "SEQ_2_SEQ_LM"}),
    Written(
        "the adapter's name in tensors' names", "names_normalised", arrays=_renamed(".weight", ".default.weight")
    ),
    Written("another adapter's name there", "names_normalised", arrays=_renamed(".weight", ".policy.weight")),
    Written("names of a compiled model", "names_normalised", arrays=_renamed("base_model.", "_orig_mod.base_model.")),
    Written(
        "names of a model with a compiled block",
        "names_normalised",
        arrays=_renamed(".self_attn", "._orig_mod.self_attn"),
    ),
    Written("names of FSDP", "names_normalised", arrays=_renamed(".self_attn", "._fsdp_wrapped_module.self_attn")),
    Written("names of DDP", "names_normalised", arrays=_renamed("base_model.", "module.base_model.")),
    Written("names without PEFT's prefix", "names_normalised", arrays=_renamed("base_model.model.", "")),
    Written("names of the inner model", "names_normalised", arrays=_renamed("model.layers", "layers")),
    Written(
        "names of the inner model without PEFT's prefix",
        "names_normalised",
        arrays=_renamed("base_model.model.model.", ""),
    ),
    _foreign("MLX", fine_tune_type="lora", num_layers=30, lora_parameters={"rank": 2, "scale": 2.0, "dropout": 0.0}),
    _foreign("ms-swift", lora_dtype="bfloat16", lorap_lr_ratio=16.0, lorap_emb_lr=1e-6),
    _foreign("an older PEFT", enable_lora=None, merge_weights=True),
    _foreign("transformers", _from_model_config=True, transformers_version="4.30.0"),
    _beside("a copy of the base's embedding", model__embed_tokens=EMBEDDING),
    _beside(
        "copies of its embedding and head in other types",
        model__embed_tokens=bf16(EMBEDDING),
        lm_head=HEAD.astype(np.float64),
    ),
    Written("float64", "cast", arrays=lambda: {name: array.astype(np.float64) for name, array in tensors().items()}),
    Written(
        "an unknown field",
        "ignored_field",
        {"of_tomorrow": {"x": 1}},
        allowed=Allowances(ignore_fields=("of_tomorrow", "absent")),
        refused=("unsupported_field", "of_tomorrow"),
    ),
    Written(
        "fewer modules than the configuration names",
        "partial",
        {"target_modules": ["q_proj", "up_proj"]},
        allowed=Allowances(partial=True),
        refused=("missing_tensor", key("model.layers.0.mlp.up_proj", "lora_A.weight")),
    ),
    Written(
        "an untrained adapter",
        "no_effect",
        arrays=lambda: (
            tensors() | {key(module, "lora_B.weight"): np.zeros((6, 2), np.float32) for module in (Q0, Q1)}
        ),
        allowed=Allowances(no_effect=True),
        refused=("no_effect", "adapter_model.safetensors"),
    ),
)
"""All of them mean two q_proj with matrices of rank 2, [2, 4] and [6, 2], at scale 2."""

STILL_REFUSED = (
    Written("MLX's DoRA", "", {"fine_tune_type": "dora"}, refused=("unsupported_field", "fine_tune_type")),
    Written(
        "one matrix of a module is missing",
        "",
        arrays=lambda: {name: array for name, array in tensors().items() if name != key(Q1, "lora_B.weight")},
        allowed=Allowances(partial=True),
        refused=("missing_tensor", key(Q1, "lora_B.weight")),
    ),
    Written(
        "all matrices are missing",
        "",
        {"bias": "all"},
        arrays=lambda: {key("model.norm", "bias"): np.ones(4, np.float32)},
        allowed=Allowances(partial=True, no_effect=True),
        refused=("missing_tensor", key(Q0, "lora_A.weight")),
    ),
    Written(
        "`--ignore-field` for a field of PEFT",
        "",
        {"use_dora": True},
        allowed=Allowances(ignore_fields=("use_dora",)),
        refused=("invalid_value", "ignore_fields"),
    ),
    Written(
        "`--ignore-field` for an honoured field",
        "",
        allowed=Allowances(ignore_fields=("lora_alpha",)),
        refused=("invalid_value", "ignore_fields"),
    ),
    Written(
        "an embedding that differs in one value",
        "",
        arrays=lambda: tensors() | {key("model.embed_tokens", "weight"): EMBEDDING + np.eye(10, 4, dtype=np.float32)},
        refused=("unexpected_tensor", key("model.embed_tokens", "weight")),
    ),
    Written(
        "MLX's own tensors",
        "",
        arrays=_renamed("lora_A.weight", "lora_a"),
        refused=("unexpected_tensor", key(Q0, "lora_a")),
    ),
    Written(
        "DoRA's magnitudes",
        "",
        arrays=lambda: tensors() | {key(Q0, "lora_magnitude_vector"): np.ones(6, np.float32)},
        refused=("unexpected_tensor", key(Q0, "lora_magnitude_vector")),
    ),
)
