"""Only the bytes and shapes that the manifest and the base call for come out of a file."""

from __future__ import annotations

import hashlib
import json

import pytest
import safetensors.torch
import torch

from adapters_registry.manifest import BaseManifest, File, LoraManifest, LoraModule
from service.adapters.weights import read_weights
from service.errors import AdapterFailed, AdapterIncompatible
from tests.service.adapters.versions import SITE, lora, lora_tensors


def written(data: bytes, *modules: LoraModule) -> tuple[bytes, LoraManifest]:
    file = File(path="adapter_model.safetensors", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
    manifest = LoraManifest(
        base="sha256:" + "b" * 64, rank=4, dtype="float32", files=(file,), modules=modules or (lora(),)
    )
    return data, manifest


def framed(header: object, body: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def test_the_named_tensors(base: BaseManifest) -> None:
    tensors = lora_tensors(lora(), base)
    data, manifest = written(safetensors.torch.save(tensors))
    read = read_weights(data, manifest, base)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_bias_only_module(base: BaseManifest) -> None:
    module = LoraModule(module=SITE, rank=0, scale=1.0, tensors={"bias": "q.bias"})
    data, manifest = written(safetensors.torch.save({"q.bias": torch.ones(6)}), module)
    assert torch.equal(read_weights(data, manifest, base)["q.bias"], torch.ones(6))


@pytest.mark.parametrize("change", ["flip", "cut", "grow"])
def test_other_bytes_than_the_digest_are_a_failed_fetch(base: BaseManifest, change: str) -> None:
    data = safetensors.torch.save(lora_tensors(lora(), base))
    _, manifest = written(data)
    other = {"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-4], "grow": data + b"\0"}[change]
    with pytest.raises(AdapterFailed, match="other bytes"):
        read_weights(other, manifest, base)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "header over"),
        (framed(b" " * ((1 << 20) + 1)), "header over"),
        (framed(b"{"), "not JSON"),
        (framed(b"[" * 100_000), "not JSON"),
        (framed([]), "no table"),
        (framed({f"t{i}": {} for i in range(4098)}), "4096"),
        (framed({"t": 1}), "'t'"),
        (framed({"t": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, b"12345678"), "I64"),
        (framed({"t": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, b"1234"), "not a valid"),
        (framed({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"), "lacks tensor"),
    ],
)
def test_bytes_that_can_never_run(base: BaseManifest, data: bytes, message: str) -> None:
    data, manifest = written(data)
    with pytest.raises(AdapterIncompatible, match=message):
        read_weights(data, manifest, base)


@pytest.mark.parametrize(
    ("module", "shapes", "message"),
    [
        (lora(rank=4), {"A": (3, 8), "B": (6, 4)}, r"lora_A.*\[3, 8\].*\[4, 8\]"),
        (lora(rank=4), {"A": (4, 8), "B": (4, 6)}, r"lora_B.*\[4, 6\].*\[6, 4\]"),
        (lora(rank=4), {"A": (4, 8)}, "lacks tensor.*lora_B"),
        (lora("model.layers.7.q_proj"), {"A": (4, 8), "B": (6, 4)}, "base has not"),
    ],
)
def test_modules_that_do_not_fit_the_base(
    base: BaseManifest, module: LoraModule, shapes: dict[str, tuple[int, int]], message: str
) -> None:
    tensors = {f"{module.module}.lora_{part}.weight": torch.zeros(shape) for part, shape in shapes.items()}
    data, manifest = written(safetensors.torch.save(tensors), module)
    with pytest.raises(AdapterIncompatible, match=message):
        read_weights(data, manifest, base)
