"""What an adapter needs of the engine that runs it."""

from __future__ import annotations

from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS, needs
from tests.adapters_registry import artifacts


def test_matrices_need_the_kind_and_biases_more():
    manifest = artifacts.manifest()
    assert needs(manifest) == {LORA}
    (module,) = manifest.modules
    with_bias = module.model_copy(update={"b_bias": "b"})
    assert needs(manifest.model_copy(update={"modules": (with_bias,)})) == {LORA, LORA_B_BIAS}
    replaced = module.model_copy(update={"bias": "bias"})
    assert needs(manifest.model_copy(update={"modules": (module, replaced)})) == {LORA, LORA_BIAS}
