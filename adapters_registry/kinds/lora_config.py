"""Reads a LoRA's ``adapter_config.json``: which modules, of what rank and scale, by PEFT's own rules.

Every field of ``LoraConfig`` (PEFT 0.21) is in one of three sets: supported here, without effect on the result, or
refused by name unless it is empty (null, false, empty). Any other field is another tool's bookkeeping
(``foreign.py``), or is refused until the push says that it may be ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.errors import (
    InvalidConfig,
    InvalidValue,
    NoEffect,
    RankTooLarge,
    UnknownModule,
    UnsupportedField,
)
from adapters_registry.findings import Note, some
from adapters_registry.kinds.foreign import bookkeeping
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
    # How the matrices were initialised: the tensors contain the result (see init_lora_weights).
    "eva_config", "corda_config", "lora_ga_config", "loftq_config",
}  # fmt: skip
_PLAIN = "train without it, or convert the adapter to plain LoRA"
REFUSED = {
    "use_dora": "train with use_dora=False",
    "modules_to_save": "train without modules_to_save",
    "trainable_token_indices": "train without trainable_token_indices",
} | dict.fromkeys(
    (
        "layer_replication", "alora_invocation_tokens", "target_parameters", "megatron_config", "use_qalora",
        "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "velora_config",
    ),
    _PLAIN,
)  # fmt: skip
"""PEFT's own fields that change what is computed, with a remedy; a push cannot ignore them."""
_INITS = {"gaussian", "eva", "orthogonal", "mica"}
CAUSAL = "CAUSAL_LM"
OTHER_TASKS = ("SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")
"""For these, PEFT computes the same on a causal base, as long as the file has no head."""
_BOOLEANS = ("use_rslora", "fan_in_fan_out", "lora_bias")
_VALUE_CHARS = 80


class LoraConfig(BaseModel):
    """The supported fields."""

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
    """How the base stores the weight; the adapter's tensors are the same in both cases."""
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool = False
    init_lora_weights: bool | str | None = True
    task_type: str | None = None


def read_config(config: Mapping[str, Any], allowed: Allowances = NOTHING) -> tuple[LoraConfig, list[Note]]:
    """The supported fields, and notes on ignored ones."""
    notes = _unhonoured(config, allowed)
    given = {name: value for name, value in config.items() if value is not None or name not in _BOOLEANS}
    try:
        fields = LoraConfig.model_validate(given)
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
    notes += _task(fields.task_type)
    if isinstance(fields.target_modules, str):
        for name in ("layers_to_transform", "layers_pattern"):
            if getattr(fields, name) is not None:
                raise InvalidConfig(
                    f"{name} cannot be used when target_modules is a pattern: name the layers in the pattern.",
                    param=name,
                )
    return fields, notes


def _unhonoured(config: Mapping[str, Any], allowed: Allowances) -> list[Note]:
    """Notes on fields that are set and ignored; refuses those that must not be ignored."""
    for name in allowed.ignore_fields:
        if name in REFUSED or name in LoraConfig.model_fields or name == "peft_type":
            raise InvalidValue(
                f"ignore_fields: {name} says what the adapter computes and cannot be ignored"
                + (f": {REFUSED[name]}." if name in REFUSED else "."),
                param="ignore_fields",
            )
    notes: list[Note] = []
    ours: dict[str, list[str]] = {}
    for name, value in sorted(config.items()):
        if not value or name in WITHOUT_EFFECT or name in LoraConfig.model_fields:
            continue
        if name in REFUSED:
            raise UnsupportedField(f"{name} is not supported yet: {REFUSED[name]}.", param=name)
        if name in allowed.ignore_fields:
            notes.append(Note.of("ignored_field", f"Ignored, as the push allowed it: {name} = {_short(value)}."))
        elif tool := bookkeeping(name, value):
            ours.setdefault(tool, []).append(name)
        else:
            raise UnsupportedField(
                f"{name} = {_short(value)} is no field that this release knows: if another tool wrote it for itself, "
                f"push with --ignore-field {name} (ignore_fields); {_PLAIN} otherwise.",
                param=name,
            )
    return notes + [
        Note.of("foreign_fields", f"Passed over, as they are bookkeeping of {tool}: {', '.join(names)}.")
        for tool, names in ours.items()
    ]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"


def _task(task: str | None) -> list[Note]:
    if task in (None, CAUSAL):
        return []
    if task in OTHER_TASKS:
        return [Note.of("task_type", f"task_type {task} is served as {CAUSAL}: the file holds no head of its own.")]
    raise UnsupportedField(
        f"task_type {task} is not supported yet: its head is not served. Train with {CAUSAL}.",
        param="task_type",
    )


def targets(fields: LoraConfig, base: BaseManifest, matcher: Matcher) -> tuple[frozenset[str], list[Note]]:
    """The modules that PEFT would adapt on this base, with notes on names that match none."""
    wanted = fields.target_modules
    if isinstance(wanted, str) and wanted.lower() == "all-linear":
        chosen = {name for name, module in base.modules.items() if module.type in PROJECTIONS}
    else:
        chosen = _named(wanted, base.modules, matcher, "target_modules")
    notes = _unmatched(wanted, chosen, base) if isinstance(wanted, list) else []
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
    return kept, notes


def _unmatched(wanted: Sequence[str], chosen: Iterable[str], base: BaseManifest) -> list[Note]:
    """PEFT ignores names that match nothing, as long as one matches."""
    known = {suffix for name in chosen for suffix in suffixes(name)}
    absent = [entry for entry in wanted if entry not in known]
    if absent and len(absent) == len(wanted):
        raise UnknownModule(
            f"target_modules names {some(absent)}, which this base ({base.name}) does not have: "
            "push to the base that the adapter was trained on.",
            param=absent[0],
        )
    if not absent:
        return []
    return [Note.of("unmatched_targets", f"target_modules names what this base does not have: {some(absent)}.")]


def _named(wanted: str | Sequence[str], modules: Iterable[str], matcher: Matcher, field: str) -> set[str]:
    """A string is a regular expression for the whole name; a list contains names or their last parts."""
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
