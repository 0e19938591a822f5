"""Every field of PEFT's ``LoraConfig``, with values that pass and values that are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """A field of ``adapter_config.json``; the values are for the adapter of ``artifacts``."""

    name: str
    passes: tuple[Any, ...]
    refused: tuple[Any, ...] = ()
    code: str = "unsupported_field"


def _unsupported(name: str, value: Any, *empty: Any) -> Field:
    """Refused unless it says nothing."""
    return Field(name, (None, *empty), (value,))


def _invalid(name: str, passes: tuple[Any, ...], *refused: Any) -> Field:
    return Field(name, passes, refused, "invalid_config")


FIELDS = (
    _invalid("r", (2,), 0, -1, "2"),
    Field("r", (), (9,), "rank_too_large"),
    _invalid("lora_alpha", (4, 2.5, -4), "4"),
    Field("lora_alpha", (), (0,), "no_effect"),
    _invalid("target_modules", (["q_proj"], ["self_attn.q_proj"], ["q_proj", "w"], r".*\.q_proj"), None, "(q_proj"),
    Field("target_modules", (), (["w_pack"], ["lm_head"], ["embed_tokens"]), "unknown_module"),
    Field("target_modules", (), ([], "nothing"), "no_effect"),
    Field("exclude_modules", (None, ["up_proj"], ".*up_proj"), (["q_proj"],), "no_effect"),
    Field("layers_to_transform", (None, [0, 1]), (7,), "no_effect"),
    _invalid("layers_pattern", (None, "layers", ["layers", "h"]), 7),
    _invalid("rank_pattern", (None, {"q_proj": 2}), {"q_proj": 0}),
    _invalid("alpha_pattern", (None, {"q_proj": 2.5}), {"q_proj": "4"}),
    _invalid("use_rslora", (None, False, True), "yes"),
    _invalid("fan_in_fan_out", (None, False, True), "yes"),
    _invalid("bias", ("none", "all", "lora_only"), "some"),
    Field("lora_bias", (None, False), (True,), "missing_tensor"),
    Field(
        "init_lora_weights",
        (True, False, "gaussian", "eva", "orthogonal", "mica"),
        ("pissa", "pissa_niter_16", "olora", "corda", "lora_ga", "loftq"),
    ),
    Field(
        "task_type",
        (None, "CAUSAL_LM", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"),
        ("SEQ_CLS", "OF_TOMORROW"),
    ),
    Field("peft_type", ("LORA",), ("IA3", None)),
    Field("auto_mapping", (None, {"base_model_class": "LlamaForCausalLM"})),
    Field("peft_version", (None, "0.21.2")),
    Field("base_model_name_or_path", (None, "meta-llama/Llama-3.2-1B")),
    Field("revision", (None, "main")),
    Field("inference_mode", (True, False)),
    Field("lora_dropout", (0.0, 0.1)),
    Field("megatron_core", ("megatron.core",)),
    Field("qalora_group_size", (16,)),
    Field("runtime_config", (None, {"ephemeral_gpu_offload": False})),
    Field("ensure_weight_tying", (False, True)),
    Field("loftq_config", ({}, {"loftq_bits": 4})),
    Field("eva_config", (None, {"rho": 2.0})),
    Field("corda_config", (None, {"corda_method": "ipm"})),
    Field("lora_ga_config", (None, {"direction": "ArB2r"})),
    _unsupported("use_dora", True, False),
    _unsupported("modules_to_save", ["lm_head"], []),
    _unsupported("trainable_token_indices", [1, 2], []),
    _unsupported("layer_replication", [[0, 2], [1, 2]], []),
    _unsupported("alora_invocation_tokens", [5]),
    _unsupported("target_parameters", ["mlp.experts.gate_up_proj"], []),
    _unsupported("megatron_config", {"hidden_size": 4}, {}),
    _unsupported("use_qalora", True, False),
    _unsupported("use_bdlora", {"nblocks": 2}),
    _unsupported("arrow_config", {"top_k": 2}),
    _unsupported("kasa_config", {"beta": 1e-4}),
    _unsupported("monteclora_config", {"num_samples": 8}),
    _unsupported("velora_config", {"num_groups": 8}),
)
