"""Artifacts whose ``adapter_config.json`` is wrong: no JSON, impossible, or asking for the unsupported."""

from __future__ import annotations

from typing import Any

from adapters_registry.folder import CONFIG, WEIGHTS
from tests.adapters_registry import artifacts
from tests.adapters_registry.hostile.case import Case, config_bytes, folder

BOMB = r"(.|.{2}|.?)+[^a-z._0-9]"
"""Exponentially many ways to fail on any module's name."""


def _raw(what: str, text: bytes, code: str = "invalid_config", param: str = CONFIG) -> Case:
    return Case(what, code, param, lambda: folder(config=text))


def _replaced(what: str, old: str, new: str, param: str = CONFIG) -> Case:
    text = config_bytes().decode()
    assert old in text
    return _raw(what, text.replace(old, new).encode(), param=param)


def _field(what: str, code: str, param: str | None = None, **changes: Any) -> Case:
    """The field, unless ``param`` says what else is named."""
    return Case(what, code, param or next(iter(changes)), lambda: folder(config=config_bytes(**changes)))


def _refused(name: str, value: Any) -> Case:
    return _field(name, "unsupported_field", **{name: value})


_JSON = (
    _raw("config: not JSON", b"r = 8"),
    _raw("config: truncated", config_bytes()[:-1]),
    _raw("config: text after its end", config_bytes() + b"{}"),
    _raw("config: a list", b"[]"),
    _raw("config: a string", b'"LORA"'),
    _raw("config: UTF-16", config_bytes().decode().encode("utf-16")),
    _raw("config: a byte order mark", b"\xef\xbb\xbf" + config_bytes()),
    _raw("config: not UTF-8", config_bytes().replace(b"LORA", b"LOR\xc1")),
    _raw("config: a lone surrogate", config_bytes(revision="\ud800")),
    _raw("config: NUL bytes", b"\0" * 64),
    _raw("config: nested 100,000 deep", b'{"peft_type":' + b"[" * 100_000),
    _raw("config: a duplicate key", config_bytes()[:-1] + b', "r": 2}'),
    _raw("config: a number of 100,000 digits", b'{"r": ' + b"9" * 100_000 + b"}"),
    _replaced("config: the literal NaN", '"lora_alpha": 4', '"lora_alpha": NaN'),
    _replaced("config: the literal -Infinity", '"lora_alpha": 4', '"lora_alpha": -Infinity'),
    _replaced("lora_alpha: too large for a float", '"lora_alpha": 4', '"lora_alpha": 1e999', "lora_alpha"),
)
_KINDS = (
    _field("peft_type: null", "unsupported_field", peft_type=None),
    _field("peft_type: in lower case", "unsupported_field", peft_type="lora"),
    _field("peft_type: a Greek letter in it", "unsupported_field", peft_type="LΟRA"),
    _field("peft_type: a list", "unsupported_field", peft_type=["LORA"]),
    _field("peft_type: 900,000 characters", "unsupported_field", peft_type="L" * 900_000),
    _field("task_type: a classifier", "unsupported_field", task_type="SEQ_CLS"),
)
_FIELDS = (
    _refused("use_dora", True),
    _refused("modules_to_save", ["lm_head"]),
    _refused("trainable_token_indices", [1, 2]),
    _refused("layer_replication", [[0, 2], [1, 2]]),
    _refused("alora_invocation_tokens", [5]),
    _refused("target_parameters", ["mlp.experts.gate_up_proj"]),
    _refused("megatron_config", {"hidden_size": 4}),
    _refused("use_qalora", True),
    _refused("use_bdlora", {"nblocks": 2}),
    _refused("arrow_config", {"top_k": 2}),
    _refused("kasa_config", {"beta": 1e-4}),
    _refused("monteclora_config", {"num_samples": 8}),
    _refused("velora_config", {"num_groups": 8}),
    _field("a field that no release of PEFT has", "unsupported_field", a_field_of_tomorrow=1),
    _field("init_lora_weights: PiSSA, not converted", "unsupported_field", init_lora_weights="pissa"),
    _field("init_lora_weights: fast PiSSA, not converted", "unsupported_field", init_lora_weights="pissa_niter_16"),
    _field("init_lora_weights: OLoRA, not converted", "unsupported_field", init_lora_weights="olora"),
    _field("init_lora_weights: CorDA, not converted", "unsupported_field", init_lora_weights="corda"),
    _field("init_lora_weights: LoRA-GA, not converted", "unsupported_field", init_lora_weights="lora_ga"),
    _field("init_lora_weights: LoftQ", "unsupported_field", init_lora_weights="loftq"),
    _field(
        "lora_bias without its tensors", "missing_tensor", artifacts.key(artifacts.Q0, "lora_B.bias"), lora_bias=True
    ),
)
_VALUES = (
    _field("r: zero", "invalid_config", r=0),
    _field("r: negative", "invalid_config", r=-2),
    _field("r: a fraction", "invalid_config", r=1.5),
    _field("r: a string", "invalid_config", r="2"),
    _field("r: a boolean", "invalid_config", r=True),
    _field("r: above the limit", "rank_too_large", r=9),
    _field("r: 10^30", "rank_too_large", r=10**30),
    _field("rank_pattern: above the limit", "rank_too_large", rank_pattern={"q_proj": 9}),
    _field("rank_pattern: zero", "invalid_config", rank_pattern={"q_proj": 0}),
    _field("rank_pattern: negative", "invalid_config", rank_pattern={"q_proj": -1}),
    _field("rank_pattern: a list", "invalid_config", rank_pattern=[2]),
    _field("lora_alpha: a string", "invalid_config", lora_alpha="4"),
    _field("lora_alpha: null", "invalid_config", lora_alpha=None),
    _field("lora_alpha: a scale outside the range of float32", "invalid_config", lora_alpha=1e300),
    _field("lora_alpha: zero", "no_effect", WEIGHTS, lora_alpha=0),
    _field("alpha_pattern: a string", "invalid_config", alpha_pattern={"q_proj": "4"}),
    _field("alpha_pattern: a scale outside the range of float32", "invalid_config", alpha_pattern={"q_proj": 1e300}),
    _field("bias: an unknown value", "invalid_config", bias="some"),
    _field("use_rslora: a string", "invalid_config", use_rslora="yes"),
)
_MODULES = (
    _field("target_modules: null", "invalid_config", target_modules=None),
    _field("target_modules: numbers", "invalid_config", target_modules=[1]),
    _field("target_modules: an empty list", "no_effect", target_modules=[]),
    _field("target_modules: a pattern that matches nothing", "no_effect", target_modules="nothing"),
    _field("target_modules: a module that the base lacks", "unknown_module", "w_pack", target_modules=["w_pack"]),
    _field("target_modules: only unknown modules", "unknown_module", "k_proj", target_modules=["k_proj", "o"]),
    _field("target_modules: the head", "unknown_module", "lm_head", target_modules=["lm_head"]),
    _field("target_modules: the embedding", "unknown_module", "model.embed_tokens", target_modules=["embed_tokens"]),
    _field("target_modules: a norm", "unknown_module", artifacts.NORM, target_modules=["norm"]),
    _field("target_modules: a Cyrillic letter", "unknown_module", "q_prоj", target_modules=["q_prоj"]),
    _field("target_modules: malformed pattern", "invalid_config", target_modules="(q_proj"),
    _field("target_modules: catastrophic pattern", "invalid_config", target_modules=BOMB),
    _field("target_modules: pattern of 5,000 characters", "invalid_config", target_modules="q" * 5000),
    _field("target_modules: 2,000 nested groups", "invalid_config", target_modules="(" * 2000 + "q" + ")" * 2000),
    _field("exclude_modules: catastrophic pattern", "invalid_config", exclude_modules=BOMB),
    _field("exclude_modules: all modules", "no_effect", "target_modules", exclude_modules=["q_proj"]),
    _field("rank_pattern: malformed pattern", "invalid_config", rank_pattern={"(": 2}),
    _field("rank_pattern: catastrophic pattern", "invalid_config", rank_pattern={BOMB: 2}),
    _field("alpha_pattern: catastrophic pattern", "invalid_config", alpha_pattern={BOMB: 2}),
    _field(
        "rank_pattern: 60,000 patterns", "invalid_config", rank_pattern={f"({i})+x": 2 for i in range(60_000)}
    ),
    _field(
        "layers_pattern: catastrophic pattern",
        "invalid_config",
        "layers_pattern",
        layers_to_transform=[0],
        layers_pattern=BOMB,
    ),
    _field("layers_to_transform: an unknown layer", "no_effect", "target_modules", layers_to_transform=[7]),
    _field("layers_to_transform: a fraction", "invalid_config", layers_to_transform=1.5),
    _field(
        "layers_to_transform together with a pattern",
        "invalid_config",
        "layers_to_transform",
        layers_to_transform=[0],
        target_modules=".*q_proj",
    ),
)  # fmt: skip

CONFIGS = (*_JSON, *_KINDS, *_FIELDS, *_VALUES, *_MODULES)
