"""What a LoRA's ``adapter_config.json`` says: which modules, of what rank and scale, by PEFT's own rules.

Every field of ``LoraConfig`` (PEFT 0.21) is in one of three sets: honoured here, without effect on the result, or
refused by name unless it says nothing (null, false, empty). The last is also how fields of later releases fare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from adapters_registry.errors import InvalidConfig, NoEffect, RankTooLarge, UnknownModule, UnsupportedField
from adapters_registry.kinds.lora_norms import FLOAT32_MAX
from adapters_registry.manifest import BaseManifest
from adapters_registry.patterns import Matcher, suffixes

PROJECTIONS = frozenset({"linear", "conv1d"})
WITHOUT_EFFECT = {
    "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version",
    "lora_dropout", "runtime_config",
    "megatron_core",  # only used with megatron_config
    "qalora_group_size",  # only used with use_qalora
    "ensure_weight_tying",  # only used with modules and tokens that are refused
    # How the matrices were initialised: what is left of it is in the tensors (see init_lora_weights).
    "eva_config", "corda_config", "lora_ga_config", "loftq_config",
}  # fmt: skip
_REMEDIES = {
    "modules_to_save": "train without modules_to_save",
    "trainable_token_indices": "train without trainable_token_indices",
    "use_dora": "train with use_dora=False",
}
_INITS = {"gaussian", "eva", "orthogonal", "mica"}
_TASKS = {None, "CAUSAL_LM"}


class LoraConfig(BaseModel):
    """The honoured fields."""

    model_config = ConfigDict(strict=True, frozen=True)

    r: int = Field(8, gt=0)
    lora_alpha: FiniteFloat = 8
    target_modules: list[str] | str
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, FiniteFloat] | None = None
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    """How the base stores the weight; the adapter's own tensors are the same either way."""
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool = False
    init_lora_weights: bool | str | None = True
    task_type: str | None = None


def read_config(config: Mapping[str, Any]) -> LoraConfig:
    for name, value in sorted(config.items()):
        if value and name not in WITHOUT_EFFECT and name not in LoraConfig.model_fields:
            remedy = _REMEDIES.get(name, "train without it, or convert the adapter to plain LoRA")
            raise UnsupportedField(f"{name} is not supported yet: {remedy}.", param=name)
    try:
        fields = LoraConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidConfig(
            f"{place}: {first['msg']}: push the config as save_pretrained wrote it.", param=str(first["loc"][0])
        ) from None
    init = fields.init_lora_weights
    if isinstance(init, str) and init.lower() not in _INITS:
        raise UnsupportedField(
            f"init_lora_weights {init!r} changed the base during training: save the adapter with "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...), which makes it plain LoRA.",
            param="init_lora_weights",
        )
    if fields.task_type not in _TASKS:
        raise UnsupportedField(
            f"task_type {fields.task_type} is not supported yet: train with CAUSAL_LM.", param="task_type"
        )
    if isinstance(fields.target_modules, str):
        for name in ("layers_to_transform", "layers_pattern"):
            if getattr(fields, name) is not None:
                raise InvalidConfig(
                    f"{name} cannot be used when target_modules is a pattern: name the layers in the pattern.",
                    param=name,
                )
    return fields


def targets(fields: LoraConfig, base: BaseManifest, matcher: Matcher) -> frozenset[str]:
    """The modules that PEFT would adapt on this base."""
    wanted = fields.target_modules
    if isinstance(wanted, str) and wanted.lower() == "all-linear":
        chosen = {name for name, module in base.modules.items() if module.type in PROJECTIONS}
    else:
        chosen = _named(wanted, base.modules, matcher, "target_modules")
    if isinstance(wanted, list):
        known = {suffix for name in chosen for suffix in suffixes(name)}
        for entry in wanted:
            if entry not in known:
                raise UnknownModule(
                    f"target_modules names {entry!r}, which this base ({base.name}) does not have: "
                    "push to the base that the adapter was trained on.",
                    param=entry,
                )
    excluded = _named(fields.exclude_modules or [], chosen, matcher, "exclude_modules")
    kept = frozenset(_in_layers(fields, chosen - excluded, matcher))
    for name in sorted(kept):
        if base.modules[name].type not in PROJECTIONS:
            raise UnknownModule(
                f"LoRA on {name} (a module of type {base.modules[name].type}) is not supported yet: "
                "train on the projections of the decoder layers.",
                param=name,
            )
    if not kept:
        raise NoEffect(
            f"target_modules matches no module of this base ({base.name}): push to the base that the adapter was "
            "trained on.",
            param="target_modules",
        )
    return kept


def _named(wanted: str | Sequence[str], modules: Iterable[str], matcher: Matcher, field: str) -> set[str]:
    """A string is a regular expression for the whole name; a list has names or their last parts."""
    if isinstance(wanted, str):
        return {name for name in modules if matcher.match(wanted, name, field, full=True)}
    entries = frozenset(wanted)
    return {name for name in modules if not entries.isdisjoint(suffixes(name))}


def _in_layers(fields: LoraConfig, modules: set[str], matcher: Matcher) -> set[str]:
    layers = fields.layers_to_transform
    if layers is None or layers == []:
        return modules
    wanted = {layers} if isinstance(layers, int) else set(layers)
    return {name for name in modules if matcher.layer(fields.layers_pattern, name) in wanted}


def rank_and_scale(fields: LoraConfig, module: str, matcher: Matcher, limit: int) -> tuple[int, float]:
    ranks, alphas = fields.rank_pattern or {}, fields.alpha_pattern or {}
    rank = ranks.get(matcher.first_key(ranks, module, "rank_pattern"), fields.r)
    alpha = alphas.get(matcher.first_key(alphas, module, "alpha_pattern"), fields.lora_alpha)
    field = "r" if rank == fields.r else "rank_pattern"
    if rank > limit:
        raise RankTooLarge(
            f"{field}: rank {rank} is over this registry's limit of {limit}: train with a lower one, or raise "
            "limits.rank.",
            param=field,
        )
    if rank <= 0:
        raise InvalidConfig(
            f"{field}: rank {rank} is not positive: push the config as save_pretrained wrote it.", param=field
        )
    scale = alpha / math.sqrt(rank) if fields.use_rslora else alpha / rank
    if abs(scale) > FLOAT32_MAX:
        field = "lora_alpha" if alpha == fields.lora_alpha else "alpha_pattern"
        raise InvalidConfig(
            f"{field}: the scale of {module} would be {scale:g}, beyond float32: train with a lower one.", param=field
        )
    return rank, scale
