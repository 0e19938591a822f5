"""What an adapter needs of the engine that runs it."""

from __future__ import annotations

from adapters_registry.capabilities import LORA, LORA_B_BIAS, LORA_BIAS, in_words, needs, remedies
from adapters_registry.manifest import stored_manifest
from tests.adapters_registry import artifacts


def test_matrices_need_the_kind_and_biases_more():
    manifest = artifacts.manifest()
    assert needs(manifest) == {LORA}
    with_bias = artifacts.lora(artifacts.Q0, b_bias="b")
    assert needs(manifest.model_copy(update={"modules": (with_bias,)})) == {LORA, LORA_B_BIAS}
    replaced = artifacts.lora(artifacts.Q1, bias="bias")
    assert needs(manifest.model_copy(update={"modules": (with_bias, replaced)})) == {LORA, LORA_B_BIAS, LORA_BIAS}


def test_what_only_a_newer_release_knows_is_a_need_too():
    manifest = artifacts.manifest()
    role = artifacts.lora(artifacts.Q0, magnitude="m")
    assert needs(manifest.model_copy(update={"modules": (role,)})) == {LORA, "lora.magnitude"}
    assert needs(manifest.model_copy(update={"needs": ("lora.activated",)})) == {LORA, "lora.activated"}
    text = manifest.canonical_json().decode().replace('"kind":"lora"', '"kind":"ia3"')
    assert needs(stored_manifest(text)) == {"ia3"}


def test_needs_in_words():
    assert in_words({LORA_BIAS, "lora.magnitude"}) == "replaced biases (lora.bias), lora.magnitude"
    assert remedies({LORA_BIAS, "lora.magnitude"}) == "train with bias='none'"
