"""Kinds of adapter, one file each: from the uploaded files to a manifest, or to a refusal that names the problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.choosing import UNCHECKED, Bases, OtherBase, choose, named
from adapters_registry.errors import (
    BodyTooLarge,
    InvalidConfig,
    InvalidValue,
    NoEffect,
    PickleRefused,
    UnknownFile,
    UnsupportedField,
)
from adapters_registry.findings import Inspection, Note, summary
from adapters_registry.kinds import lora
from adapters_registry.kinds.copies import check_copies
from adapters_registry.kinds.values import Contents, Interpretation
from adapters_registry.manifest import BaseManifest, File, Manifest
from adapters_registry.settings import Limits
from adapters_registry.tensorfile import TensorInfo, read_header, read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_DTYPES = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Kind(Protocol):
    """A module with this function."""

    def interpret(
        self,
        config: Mapping[str, Any],
        infos: Mapping[str, TensorInfo],
        base: BaseManifest,
        limits: Limits,
        allowed: Allowances,
    ) -> Interpretation:
        """What the adapter does to each module; refuses what is neither supported nor ``allowed``."""


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
        raise InvalidValue("files: a path comes twice; send each file once.", param="files")
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
            raise BodyTooLarge(
                f"{file.path} has {file.size} bytes, over {bound}: train a smaller adapter, or raise the limit.",
                param=file.path,
            )


def build_manifest(
    base: BaseManifest, files: Sequence[ArtifactFile], limits: Limits, allowed: Allowances = NOTHING
) -> Manifest:
    """As ``judge``, without the norms."""
    return judge(base, files, limits, allowed).manifest


def judge(
    base: BaseManifest,
    files: Sequence[ArtifactFile],
    limits: Limits,
    allowed: Allowances = NOTHING,
    bases: Bases = UNCHECKED,
) -> Inspection:
    """Reads and checks the whole artifact against ``base``, the cheap checks first; ``OtherBase`` if it is for
    another of ``bases``.

    config (fields, peft_type) → header (cap, tensor count, dtypes, shapes, sizes) → modules and ranks → names and
    shapes against the base → values (NaN, infinity, norms, copies of the base's) → effect.
    """
    by_path = {file.file.path: file for file in files}
    with by_path[CONFIG].open() as file:
        config = _config(file.read(limits.config_bytes + 1))
    based = _check_base(config.get("base_model_name_or_path"), base, bases)
    peft_type = str(config.get("peft_type"))
    if peft_type not in KINDS:
        raise UnsupportedField(
            f"peft_type {peft_type} is not supported yet: train with {' or '.join(KINDS)}.", param="peft_type"
        )
    kind = KINDS[peft_type]
    weights = by_path[WEIGHTS]
    with weights.open() as file:
        infos = read_header(file, weights.file.size)
        read = kind.interpret(config, infos, base, limits, allowed)
        norms = read.measure(file, infos)
        notes = [*based, *read.notes, *check_copies(file, infos, read.copies, base)]
    try:
        read.check_effect(norms)
    except NoEffect:
        if not allowed.no_effect:
            raise
        notes.append(Note.of("no_effect", "Changes nothing, as the push allowed it: it answers as the base does."))
    own = {name: info for name, info in infos.items() if name not in read.copies}
    contents = Contents(
        base=base.digest,
        dtype=_dtype({info.dtype for info in own.values()}),
        files=tuple(sorted((file.file for file in files), key=lambda file: file.path)),
    )
    return Inspection(
        manifest=read.manifest(contents),
        norms=summary(norms, read.weighed, limits.norm_modules),
        notes=(*notes, *_cast(own)),
    )


def _check_base(name: object, base: BaseManifest, bases: Bases) -> tuple[Note, ...]:
    """Checks that ``base`` is the right one; returns a note if the push overrules the config."""
    if bases.requested is None and bases.known and (chosen := choose(name, bases.known)).digest != base.digest:
        raise OtherBase(chosen.digest)
    meant = {known.digest for known in named(name, bases.known)}
    if not bases.known or not name or base.digest in meant:
        return ()
    if meant:
        return (
            Note.of("base_overruled", f"The config names {name}; checked against {base.name}, as the push asked."),
        )
    return (
        Note.of("base_unknown", f"The config names {name}, which is no known base; checked against {base.name}."),
    )


def _cast(infos: Mapping[str, TensorInfo]) -> tuple[Note, ...]:
    wide = [name for name, info in infos.items() if info.dtype == "F64"]
    if not wide:
        return ()
    return (Note.of("cast", f"{len(wide)} tensors of float64 are cast to float32, such as {min(wide)}."),)


def _config(text: bytes) -> dict[str, Any]:
    try:
        config = read_json(text)
    except ValueError as error:
        raise InvalidConfig(
            f"{CONFIG} is not JSON ({error}): push a folder that PEFT's save_pretrained wrote.", param=CONFIG
        ) from None
    if not isinstance(config, dict):
        raise InvalidConfig(
            f"{CONFIG} is not a JSON object: push a folder that PEFT's save_pretrained wrote.", param=CONFIG
        )
    return config


def _dtype(found: set[str]) -> str:
    """Of mixed types, the one that can represent all others."""
    return _DTYPES[found.pop()] if len(found) == 1 else "float32"
