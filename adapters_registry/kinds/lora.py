"""LoRA as PEFT saves it: config and tensors' shapes against the base, worked out module by module once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adapters_registry.errors import MissingTensor, NoEffect, ShapeMismatch, UnexpectedTensor, UnknownModule
from adapters_registry.findings import ModuleNorms
from adapters_registry.kinds.lora_config import PROJECTIONS, LoraConfig, rank_and_scale, read_config, targets
from adapters_registry.kinds.lora_norms import FLOAT32_TINY, measure
from adapters_registry.manifest import AdaptedModule, BaseManifest
from adapters_registry.patterns import Matcher
from adapters_registry.settings import Limits
from adapters_registry.tensorfile import TensorInfo

__all__ = ["NAME", "check_effect", "interpret", "measure"]
NAME: Literal["lora"] = "lora"

_PREFIX = "base_model.model."
_PARTS = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_B.bias": "b_bias", ".base_layer.bias": "bias"}


@dataclass(frozen=True, slots=True)
class _Artifact:
    config: LoraConfig
    tensors: Mapping[str, Mapping[str, str]]
    """By module and part (a, b, b_bias, bias): the tensor's name."""
    infos: Mapping[str, TensorInfo]
    base: BaseManifest


def interpret(
    config: Mapping[str, Any], infos: Mapping[str, TensorInfo], base: BaseManifest, limits: Limits
) -> tuple[AdaptedModule, ...]:
    """One ``AdaptedModule`` for each module that the adapter changes, checked against the base's shapes."""
    read = read_config(config)
    matcher = Matcher(limits.match_s)
    adapted = targets(read, base, matcher)
    artifact = _Artifact(read, _by_module(infos, base), infos, base)
    modules = []
    for module in sorted(adapted | set(artifact.tensors)):
        if module in adapted:
            rank, scale = rank_and_scale(read, module, matcher, limits.rank)
            modules.append(_projection(artifact, module, rank, scale))
        else:
            modules.append(_bias_only(artifact, module))
    return tuple(modules)


def check_effect(modules: Sequence[AdaptedModule], norms: Sequence[ModuleNorms]) -> None:
    """A replaced bias counts as a change (the base's is not known here); a delta that float32 cannot tell from 0
    does not."""
    for module, found in zip(modules, norms, strict=True):
        if module.bias is not None or max(found.delta, found.bias) >= FLOAT32_TINY:
            return
    raise NoEffect(
        "The adapter would change nothing: in every module A, B, their product or the scale is zero. "
        "Train it, or push the right folder.",
        param="adapter_model.safetensors",
    )


def _by_module(infos: Mapping[str, TensorInfo], base: BaseManifest) -> dict[str, dict[str, str]]:
    """Tensor names by module and part (a, b, b_bias, bias)."""
    found: dict[str, dict[str, str]] = {}
    for tensor in sorted(infos):
        module, part = _split(tensor)
        if module not in base.modules:
            raise UnknownModule(
                f"Tensor {tensor} belongs to {module!r}, which this base ({base.name}) does not have: "
                "push to the base that the adapter was trained on.",
                param=module,
            )
        parts = found.setdefault(module, {})
        if part in parts:
            raise UnexpectedTensor(
                f"Tensor {tensor} says again what {parts[part]} says: save the adapter again with save_pretrained.",
                param=tensor,
            )
        parts[part] = tensor
    return found


def _split(tensor: str) -> tuple[str, str]:
    if tensor.startswith(_PREFIX):
        name = tensor.removeprefix(_PREFIX)
        for suffix, part in _PARTS.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix), part
        if name.endswith(".bias"):
            return name.removesuffix(".bias"), "bias"
    raise UnexpectedTensor(
        f"Tensor {tensor} is not one of a LoRA (lora_A, lora_B, biases): save only the adapter "
        "(save_embedding_layers=False, no modules_to_save).",
        param=tensor,
    )


def _bias_only(artifact: _Artifact, module: str) -> AdaptedModule:
    parts, config = artifact.tensors[module], artifact.config
    extra = [tensor for part, tensor in parts.items() if part != "bias" or config.bias != "all"]
    if extra:
        raise UnexpectedTensor(
            f"Tensor {extra[0]}: the config does not adapt {module} (target_modules, layers_to_transform, "
            f"exclude_modules, bias={config.bias!r}): push it with its own config.",
            param=extra[0],
        )
    _check_bias(artifact, module)
    return AdaptedModule(module=module, rank=0, scale=1.0, bias=parts["bias"])


def _projection(artifact: _Artifact, module: str, rank: int, scale: float) -> AdaptedModule:
    parts, config = artifact.tensors.get(module, {}), artifact.config
    needed = {"a": "lora_A.weight", "b": "lora_B.weight"} | ({"b_bias": "lora_B.bias"} if config.lora_bias else {})
    for part, suffix in needed.items():
        if part not in parts:
            name = f"{_PREFIX}{module}.{suffix}"
            raise MissingTensor(
                f"The config adapts {module}, but {name} is not in the file: push the config that it was saved with.",
                param=name,
            )
    for part, tensor in parts.items():
        if part not in needed and (part != "bias" or config.bias == "none"):
            raise UnexpectedTensor(
                f"Tensor {tensor}: the config has bias={config.bias!r} and lora_bias={config.lora_bias}: "
                "push it with its own config.",
                param=tensor,
            )
    shape = artifact.base.modules[module]
    _check_shape(artifact, parts["a"], (rank, shape.in_features))
    _check_shape(artifact, parts["b"], (shape.out_features, rank))
    if "b_bias" in parts:
        _check_shape(artifact, parts["b_bias"], (shape.out_features,))
    if "bias" in parts:
        _check_bias(artifact, module)
    return AdaptedModule(module=module, rank=rank, scale=scale, **parts)


def _check_bias(artifact: _Artifact, module: str) -> None:
    shape, tensor = artifact.base.modules[module], artifact.tensors[module]["bias"]
    if not shape.bias or shape.type not in PROJECTIONS | {"norm"}:
        raise UnknownModule(
            f"Tensor {tensor}: {module} has no bias that an adapter can replace: train with bias='none'.",
            param=tensor,
        )
    _check_shape(artifact, tensor, (shape.out_features,))


def _check_shape(artifact: _Artifact, tensor: str, expected: tuple[int, ...]) -> None:
    found = artifact.infos[tensor].shape
    if found != expected:
        raise ShapeMismatch(
            f"Tensor {tensor} has shape {list(found)}, but by the config's rank and the base's module it must be "
            f"{list(expected)}. Push to the base that the adapter was trained on, with its own config.",
            param=tensor,
        )
