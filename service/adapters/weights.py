"""Parses a fetched ``adapter_model.safetensors``: only the bytes that the manifest names, within bounds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from adapters_registry.manifest import AdaptedModule, BaseManifest, File, Manifest
from adapters_registry.shapes import shapes
from service.errors import AdapterFailed, AdapterIncompatible

WEIGHTS_FILE = "adapter_model.safetensors"
HEADER_BYTES = 1 << 20
HEADER_TENSORS = 4096
DTYPES = frozenset({"F64", "F32", "F16", "BF16"})


def read_weights(data: bytes, manifest: Manifest, base: BaseManifest) -> dict[str, Tensor]:
    """The tensors that ``manifest`` names, from the bytes of its weights file, which are hashed and then parsed.

    Raises ``AdapterFailed`` if the bytes differ from the manifest's (a new fetch may succeed), and
    ``AdapterIncompatible`` if they can never run on ``base``.
    """
    _check_bytes(data, weights_file(manifest))
    _check_header(data)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise AdapterIncompatible(f"{WEIGHTS_FILE} is not a valid safetensors file: {error}") from error
    for module in manifest.modules:
        _check_module(manifest.kind, module, tensors, base)
    return {name: tensors[name] for module in manifest.modules for name in module.tensors.values()}


def weights_file(manifest: Manifest) -> File:
    """The manifest's weights file. Raises ``AdapterIncompatible`` if there is none."""
    try:
        return manifest.file(WEIGHTS_FILE)
    except KeyError:
        raise AdapterIncompatible(f"the adapter version has no {WEIGHTS_FILE}; push it again") from None


def _check_bytes(data: bytes, file: File) -> None:
    if len(data) != file.size or f"sha256:{hashlib.sha256(data).hexdigest()}" != file.digest:
        raise AdapterFailed(f"the fetched {file.path} has other bytes than its digest {file.digest} says")


def _check_header(data: bytes) -> None:
    """Bounds the header before it is parsed, because it can claim any size."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER_BYTES, len(data) - 8):
        raise AdapterIncompatible(f"{WEIGHTS_FILE} has a header over {HEADER_BYTES} bytes or is cut short")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise AdapterIncompatible(f"{WEIGHTS_FILE} has a header that is not JSON") from error
    if not isinstance(header, dict) or len(header) > HEADER_TENSORS + 1:
        raise AdapterIncompatible(f"{WEIGHTS_FILE} has more than {HEADER_TENSORS} tensors or no table of them")
    for name, entry in header.items():
        if name != "__metadata__":
            _check_entry(name, entry)


def _check_entry(name: str, entry: Any) -> None:
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    if dtype not in DTYPES:
        raise AdapterIncompatible(
            f"{WEIGHTS_FILE}: tensor {name!r} is {dtype}; an adapter's are {', '.join(sorted(DTYPES))}"
        )


def _check_module(kind: str, module: AdaptedModule, tensors: dict[str, Tensor], base: BaseManifest) -> None:
    """Checks the shapes again, as at upload, because a wrong shape would break a batch shared with others."""
    if module.module not in base.modules:
        raise AdapterIncompatible(f"the adapter changes module {module.module!r}, which the base has not")
    for role, shape in shapes(kind, module, base).items():
        name = module.tensors[role]
        if name not in tensors:
            raise AdapterIncompatible(f"{WEIGHTS_FILE} lacks tensor {name!r}, which the version's manifest names")
        if tuple(tensors[name].shape) != shape:
            raise AdapterIncompatible(
                f"{WEIGHTS_FILE}: tensor {name!r} has shape {list(tensors[name].shape)}, "
                f"module {module.module!r} of the base needs {list(shape)}"
            )
