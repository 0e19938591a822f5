"""Kinds of adapter, one file each: from the uploaded files to a manifest, or a refusal that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from adapters_registry.errors import (
    BodyTooLarge,
    InvalidConfig,
    InvalidValue,
    PickleRefused,
    UnknownFile,
    UnsupportedField,
)
from adapters_registry.kinds import lora
from adapters_registry.manifest import AdaptedModule, BaseManifest, File, Manifest
from adapters_registry.settings import Limits
from adapters_registry.tensorfile import TensorInfo, all_zero, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Kind(Protocol):
    """The seam: a module with this function and its name in manifests."""

    NAME: Any

    def interpret(
        self, config: Mapping[str, Any], infos: Mapping[str, TensorInfo], base: BaseManifest, rank_limit: int
    ) -> tuple[AdaptedModule, ...]:
        """What the adapter does to each module, sorted by module; refuses what is not honoured."""

    def check_effect(self, modules: Sequence[AdaptedModule], zero: frozenset[str]) -> None:
        """``NoEffect`` if, with the tensors of ``zero`` being all zero, nothing would change."""


KINDS: dict[str, Kind] = {"LORA": lora}
"""By PEFT's ``peft_type``."""


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of the artifact and how to read it."""

    file: File
    open: Callable[[], BinaryIO]


def check_files(files: Sequence[File], limits: Limits) -> None:
    """Refuses anything but one config and one safetensors file within bounds."""
    paths = [file.path for file in files]
    if len(set(paths)) != len(paths):
        raise InvalidValue("files: a path comes twice.", param="files")
    pickles = [path for path in paths if path.endswith(_PICKLES)]
    if pickles and WEIGHTS not in paths:
        raise PickleRefused(
            f"{pickles[0]} is a pickle, which can run code: save the adapter again with "
            f"save_pretrained(..., safe_serialization=True) and push {WEIGHTS}.",
            param=pickles[0],
        )
    for path in paths:
        if path not in (CONFIG, WEIGHTS):
            raise UnknownFile(f"{path} is no part of an adapter: send only {CONFIG} and {WEIGHTS}.", param=path)
    for path in (CONFIG, WEIGHTS):
        if path not in paths:
            raise UnknownFile(f"{path} is missing: push a folder that PEFT's save_pretrained wrote.", param=path)
    for file in files:
        bound = limits.config_bytes if file.path == CONFIG else limits.upload_bytes
        if file.size > bound:
            raise BodyTooLarge(f"{file.path} has {file.size} bytes, over {bound}.", param=file.path)


def build_manifest(base: BaseManifest, files: Sequence[ArtifactFile], limits: Limits) -> Manifest:
    """Reads and checks the whole artifact against ``base``; the manifest of the version it would be."""
    by_path = {file.file.path: file for file in files}
    with by_path[CONFIG].open() as file:
        config = _config(file.read(limits.config_bytes + 1))
    peft_type = str(config.get("peft_type"))
    if peft_type not in KINDS:
        raise UnsupportedField(
            f"peft_type {peft_type} is not supported yet; {', '.join(KINDS)} is.", param="peft_type"
        )
    kind = KINDS[peft_type]
    weights = by_path[WEIGHTS]
    with weights.open() as file:
        infos = read_header(file, weights.file.size)
        modules = kind.interpret(config, infos, base, limits.rank)
        kind.check_effect(modules, all_zero(file, infos))
    return Manifest(
        kind=kind.NAME,
        base=base.digest,
        rank=max(module.rank for module in modules),
        dtype=_dtype({info.dtype for info in infos.values()}),
        files=tuple(sorted((file.file for file in files), key=lambda file: file.path)),
        modules=modules,
    )


def _config(text: bytes) -> dict[str, Any]:
    try:
        config = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"{CONFIG} is not JSON ({error}).", param=CONFIG) from None
    if not isinstance(config, dict):
        raise InvalidConfig(f"{CONFIG} is not a JSON object.", param=CONFIG)
    return config


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _dtype(found: set[str]) -> str:
    """Mixed types are told as the one that holds them all."""
    return _DTYPES[found.pop()] if len(found) == 1 else "float32"
