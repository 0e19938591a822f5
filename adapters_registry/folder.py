"""A PEFT folder to be pushed: which files are uploaded, with their digests, and which are not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from adapters_registry.errors import PickleRefused, UnknownFile
from adapters_registry.manifest import File

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PIECE_BYTES = 1 << 20


def describe(path: Path) -> File:
    """The file's path, digest and size."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return File(path=path.name, digest=f"sha256:{digest.hexdigest()}", size=size)


def check_folder(directory: Path) -> tuple[str, ...]:
    """The entries that are not uploaded; refuses a folder that is no adapter."""
    if not directory.is_dir():
        raise UnknownFile(f"{directory} is not a folder: give one that PEFT's save_pretrained wrote.", param="dir")
    names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    if WEIGHTS not in names and "adapter_model.bin" in names:
        raise PickleRefused(
            f"{directory} has its weights only as a pickle (adapter_model.bin), which can run code: save the adapter "
            "again with save_pretrained(..., safe_serialization=True).",
            param="adapter_model.bin",
        )
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise UnknownFile(
                f"{directory} has no {name}: give a folder that PEFT's save_pretrained wrote.", param=name
            )
    return tuple(name for name in names if name not in (CONFIG, WEIGHTS))


def trained_on(config: Path) -> str | None:
    """The config's ``base_model_name_or_path``. Called only after the registry accepted the config."""
    name = json.loads(config.read_bytes()).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def pieces(source: BinaryIO, size: int, progress: Callable[[int], None]) -> Iterator[bytes]:
    """At most ``size`` bytes: if the file grew meanwhile, the registry's digest check fails."""
    sent = 0
    while sent < size and (piece := source.read(min(PIECE_BYTES, size - sent))):
        yield piece
        sent += len(piece)
        progress(sent)
