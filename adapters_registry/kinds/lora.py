"""LoRA as PEFT saves it: config and tensors' shapes against the base, resolved once per module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.errors import MissingTensor, NoEffect, ShapeMismatch, UnexpectedTensor, UnknownModule
from adapters_registry.findings import ModuleNorms, Note, by_layer
from adapters_registry.kinds.lora_config import PROJECTIONS, LoraConfig, rank_and_scale, read_config, targets
from adapters_registry.kinds.lora_names import PREFIX, read_names
from adapters_registry.kinds.lora_norms import FLOAT32_TINY, measure
from adapters_registry.kinds.values import Contents
from adapters_registry.manifest import BaseManifest, LoraManifest, LoraModule
from adapters_registry.patterns import Matcher
from adapters_registry.settings import Limits
from adapters_registry.shapes import shapes
from adapters_registry.tensorfile import TensorInfo

_KIND = "lora"


@dataclass(frozen=True, slots=True)
class _Artifact:
    config: LoraConfig
    tensors: Mapping[str, Mapping[str, str]]
    """By module and part (a, b, b_bias, bias): the tensor's name."""
    infos: Mapping[str, TensorInfo]
    base: BaseManifest


@dataclass(frozen=True, slots=True)
class LoraArtifact:
    """What a LoRA does to each module (``values.Interpretation``)."""

    modules: tuple[LoraModule, ...]
    """Sorted by module."""
    copies: Mapping[str, str]
    notes: tuple[Note, ...]

    @property
    def weighed(self) -> frozenset[str]:
        return frozenset(module.module for module in self.modules if module.rank)

    def measure(self, file: BinaryIO, infos: Mapping[str, TensorInfo]) -> tuple[ModuleNorms, ...]:
        return measure(file, infos, self.modules)

    def check_effect(self, norms: Sequence[ModuleNorms]) -> None:
        """A replaced bias counts as a change (the base's is not known here); a delta that is 0 in float32 does
        not."""
        for module, found in zip(self.modules, norms, strict=True):
            if "bias" in module.tensors or max(found.delta, found.bias) >= FLOAT32_TINY:
                return
        raise NoEffect(
            "The adapter would change nothing: in every module A, B, their product or the scale is zero. "
            "Train it, push the right folder, or, for the first step of a training, push with --allow-no-effect "
            "(allow_no_effect).",
            param="adapter_model.safetensors",
        )

    def manifest(self, contents: Contents) -> LoraManifest:
        return LoraManifest(
            base=contents.base,
            rank=max(module.rank for module in self.modules),
            dtype=contents.dtype,
            files=contents.files,
            modules=self.modules,
        )


def interpret(
    config: Mapping[str, Any],
    infos: Mapping[str, TensorInfo],
    base: BaseManifest,
    limits: Limits,
    allowed: Allowances = NOTHING,
) -> LoraArtifact:
    """One ``LoraModule`` per module that the adapter changes, checked against the base's shapes."""
    read, notes = read_config(config, allowed)
    matcher = Matcher(limits.match_s)
    adapted, unmatched = targets(read, base, matcher)
    names = read_names(infos, base)
    artifact = _Artifact(read, names.modules, infos, base)
    missing = _missing(adapted, names.modules, allowed)
    modules = []
    for module in sorted((adapted - missing) | set(names.modules)):
        if module in adapted:
            rank, scale = rank_and_scale(read, module, matcher, limits.rank)
            modules.append(_projection(artifact, module, rank, scale))
        else:
            modules.append(_bias_only(artifact, module))
    if missing:
        notes.append(Note.of("partial", f"Not in the file, and left as the base has them: {by_layer(missing)}."))
    return LoraArtifact(tuple(modules), names.copies, (*notes, *unmatched, *names.notes))


def _missing(adapted: frozenset[str], found: Mapping[str, Mapping[str, str]], allowed: Allowances) -> frozenset[str]:
    """Modules that the config adapts but for which the file has no matrix; refused unless the push allows it."""
    missing = frozenset(module for module in adapted if not {"a", "b"} & set(found.get(module, ())))
    if missing == adapted:
        raise MissingTensor(
            f"The config adapts {by_layer(adapted)}, but the file holds no matrix of any: push the config that it "
            "was saved with.",
            param=f"{PREFIX}{min(adapted)}.lora_A.weight",
        )
    if missing and not allowed.partial:
        raise MissingTensor(
            f"The config adapts {len(adapted)} modules, but the file holds nothing of {by_layer(missing)}: push the "
            "config that it was saved with, or push with --allow-partial (allow_partial), which leaves them as the "
            "base has them.",
            param=f"{PREFIX}{min(missing)}.lora_A.weight",
        )
    return missing


def _bias_only(artifact: _Artifact, module: str) -> LoraModule:
    parts, config = artifact.tensors[module], artifact.config
    extra = [tensor for part, tensor in parts.items() if part != "bias" or config.bias != "all"]
    if extra:
        raise UnexpectedTensor(
            f"Tensor {extra[0]}: the config does not adapt {module} (target_modules, layers_to_transform, "
            f"exclude_modules, bias={config.bias!r}): push it with its own config.",
            param=extra[0],
        )
    _check_bias(artifact, module)
    return _checked(artifact, LoraModule(module=module, rank=0, scale=1.0, tensors={"bias": parts["bias"]}))


def _projection(artifact: _Artifact, module: str, rank: int, scale: float) -> LoraModule:
    parts, config = artifact.tensors.get(module, {}), artifact.config
    needed = {"a": "lora_A.weight", "b": "lora_B.weight"} | ({"b_bias": "lora_B.bias"} if config.lora_bias else {})
    for part, suffix in needed.items():
        if part not in parts:
            name = f"{PREFIX}{module}.{suffix}"
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
    if "bias" in parts:
        _check_bias(artifact, module)
    return _checked(artifact, LoraModule(module=module, rank=rank, scale=scale, tensors=dict(parts)))


def _check_bias(artifact: _Artifact, module: str) -> None:
    """Checks that the base has a bias."""
    shape, tensor = artifact.base.modules[module], artifact.tensors[module]["bias"]
    if not shape.bias or shape.type not in PROJECTIONS | {"norm"}:
        raise UnknownModule(
            f"Tensor {tensor}: {module} has no bias that an adapter can replace: train with bias='none'.",
            param=tensor,
        )


def _checked(artifact: _Artifact, module: LoraModule) -> LoraModule:
    """Checks the shapes of its tensors."""
    for role, expected in shapes(_KIND, module, artifact.base).items():
        tensor = module.tensors[role]
        found = artifact.infos[tensor].shape
        if found != expected:
            raise ShapeMismatch(
                f"Tensor {tensor} has shape {list(found)}, but by the config's rank and the base's module it must be "
                f"{list(expected)}. Push to the base that the adapter was trained on, with its own config.",
                param=tensor,
            )
    return module
