"""Hand-made adapters for a hand-made base: small, and malformed in every wished-for way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adapters_registry.folder import CONFIG, WEIGHTS, describe
from adapters_registry.manifest import BaseManifest, BaseModule, File, LoraManifest, LoraModule

Q0, Q1 = (f"model.layers.{i}.self_attn.q_proj" for i in range(2))
UP0, UP1 = (f"model.layers.{i}.mlp.up_proj" for i in range(2))
NORM = "model.norm"
INPUTS, Q_OUTPUTS, UP_OUTPUTS = 4, 6, 8
EMBEDDING, HEAD = (np.arange(10 * INPUTS, dtype=np.float32).reshape(10, INPUTS) + i for i in range(2))
"""The weights of ``base()`` whose digests it has; exact in every type."""


def base(name: str = "tiny", mark: str = "0") -> BaseManifest:
    """Two layers: q_proj 4 → 6 with a bias, up_proj 4 → 8 without."""
    query = BaseModule(type="linear", in_features=INPUTS, out_features=Q_OUTPUTS, bias=True)
    up = BaseModule(type="linear", in_features=INPUTS, out_features=UP_OUTPUTS, bias=False)
    return BaseManifest(
        digest="sha256:" + mark * 64,
        name=name,
        architecture="TinyForCausalLM",
        dtype="float32",
        vocab_size=10,
        layers=2,
        modules={
            Q0: query,
            Q1: query,
            UP0: up,
            UP1: up,
            NORM: BaseModule(type="norm", in_features=4, out_features=4, bias=True),
            "model.embed_tokens": BaseModule(
                type="embedding", in_features=10, out_features=4, bias=False, weight=sha256(EMBEDDING.tobytes())
            ),
            "lm_head": BaseModule(
                type="head", in_features=4, out_features=10, bias=False, weight=sha256(HEAD.tobytes())
            ),
        },
    )


def config(**changes: Any) -> dict[str, Any]:
    """A LoRA of rank 2 on both q_proj."""
    return {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]} | changes


def key(module: str, suffix: str) -> str:
    return f"base_model.model.{module}.{suffix}"


def pair(module: str, rank: int = 2, outputs: int = Q_OUTPUTS, fill: float = 0.5) -> dict[str, np.ndarray]:
    """A [rank, 4] and B [outputs, rank]."""
    return {
        key(module, "lora_A.weight"): np.full((rank, INPUTS), fill, np.float32),
        key(module, "lora_B.weight"): np.full((outputs, rank), fill, np.float32),
    }


def tensors(fill: float = 0.5) -> dict[str, np.ndarray]:
    """What ``config()`` asks for."""
    return pair(Q0, fill=fill) | pair(Q1, fill=fill)


def pack(arrays: Mapping[str, np.ndarray], dtypes: Mapping[str, str] | None = None, **header: Any) -> bytes:
    """The arrays as a safetensors file; ``dtypes`` and ``header`` overrule what its header says."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    names = {"float32": "F32", "float16": "F16", "uint16": "BF16", "float64": "F64"}
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        dtype = (dtypes or {}).get(name, names[array.dtype.name])
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(entries | header).encode()
    return len(text).to_bytes(8, "little") + text + data


def bf16(array: np.ndarray) -> np.ndarray:
    """The upper halves of float32 values."""
    bits: np.ndarray = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits


def folder(path: Path, settings: Mapping[str, Any] | bytes | None = None, weights: bytes | None = None) -> Path:
    """A PEFT folder; by default ``config()`` and ``tensors()``."""
    path.mkdir(parents=True, exist_ok=True)
    text = settings if isinstance(settings, bytes) else json.dumps(settings or config()).encode()
    (path / CONFIG).write_bytes(text)
    (path / WEIGHTS).write_bytes(pack(tensors()) if weights is None else weights)
    return path


def manifest() -> LoraManifest:
    """A version of ``base()`` whose weights are the bytes ``weights``."""
    weights = File(path=WEIGHTS, digest=sha256(b"weights"), size=7)
    return LoraManifest(base=base().digest, rank=2, dtype="float32", files=(weights,), modules=(lora(Q0),))


def lora(module: str, **others: str) -> LoraModule:
    """Of rank 2, with A, B and ``others`` by role."""
    names = {"a": key(module, "lora_A.weight"), "b": key(module, "lora_B.weight")} | others
    return LoraModule(module=module, rank=2, scale=2.0, tensors=names)


def files(path: Path) -> list[File]:
    return [describe(path / CONFIG), describe(path / WEIGHTS)]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
