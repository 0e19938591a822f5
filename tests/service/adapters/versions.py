"""Adapter versions of the tests' small base, and an engine's form of them that is easy to see through."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adapters_registry.capabilities import LORA, in_words, needs
from adapters_registry.manifest import BaseManifest, LoraModule, Manifest
from service.errors import AdapterIncompatible
from service.values import AdapterRef
from tests.fakes import FakeSource

SITE = "model.layers.0.self_attn.q_proj"
WIDE = "model.layers.0.mlp.up_proj"


class Form:
    """Aᵀ and Bᵀ, bound as they are."""

    layout = "test1-float32"

    def check_adapter(self, manifest: Manifest) -> None:
        if missing := needs(manifest) - {LORA}:
            raise AdapterIncompatible(f"{in_words(missing)} is not computed here")

    def canonicalise(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            f"{module.module}/{role}_t": tensors[name].t().contiguous()
            for module in manifest.modules
            for role, name in module.tensors.items()
        }

    def bind(self, digest: str, kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(tensors)


def lora(module: str = SITE, rank: int = 4) -> LoraModule:
    names = {"a": f"{module}.lora_A.weight", "b": f"{module}.lora_B.weight"}
    return LoraModule(module=module, rank=rank, scale=2.0, tensors=names)


def lora_tensors(module: LoraModule, base: BaseManifest, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    site = base.modules[module.module]
    return {
        module.tensors["a"]: torch.randn(module.rank, site.in_features, generator=draw),
        module.tensors["b"]: torch.randn(site.out_features, module.rank, generator=draw),
    }


def publish(source: FakeSource, base: BaseManifest, seed: int = 0, module: str = SITE, rank: int = 4) -> AdapterRef:
    adapted = lora(module, rank)
    return source.publish((adapted,), lora_tensors(adapted, base, seed), base.digest)
