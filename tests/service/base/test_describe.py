"""What the registry is told of a base, for every architecture that the service names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from service.base import decoder_layers, describe_base, load_model
from tests.service.base.checkpoints import CONFIGS, VOCABULARY, checkpoint

# Per architecture: projections in a layer, and biased ones among them.
PROJECTIONS = {
    "llama": (7, 0),
    "qwen2": (7, 3),
    "mistral": (7, 0),
    "gemma": (7, 0),
    "gemma2": (7, 0),
    "gemma3": (7, 0),
    "gpt2": (4, 4),
    "opt": (6, 6),
    "gpt_neox": (4, 4),
    "phi3": (4, 0),
}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_projection_is_named(architecture: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, architecture)
    model = load_model(path, "auto", "cpu")
    manifest = describe_base(path, "tiny", model)

    layers = decoder_layers(model)
    types = Counter(module.type for module in manifest.modules.values())
    projection = "conv1d" if architecture == "gpt2" else "linear"
    each, biased = PROJECTIONS[architecture]
    inside = {name: module for name, module in manifest.modules.items() if module.type == projection}
    assert all(name.startswith(f"{layers}.") for name in inside)
    assert types[projection] == 2 * each
    assert sum(module.bias for module in inside.values()) == 2 * biased
    assert types["head"] == 1
    assert types["embedding"] >= 1
    assert types["norm"] >= 4
    assert (manifest.vocab_size, manifest.layers, manifest.dtype) == (VOCABULARY, 2, "float32")
    assert manifest.architecture == type(model).__name__


@pytest.mark.parametrize("architecture", CONFIGS)
def test_sizes_are_those_of_a_lora_on_the_module(architecture: str, tmp_path: Path) -> None:
    """PEFT's own A and B fit: [rank, in_features] and [out_features, rank]."""
    from peft import LoraConfig, get_peft_model

    path = checkpoint(tmp_path, architecture)
    manifest = describe_base(path, "tiny", load_model(path, "auto", "cpu"))
    targets = [name for name, module in manifest.modules.items() if module.type in ("linear", "conv1d")]
    adapted = get_peft_model(
        load_model(path, "auto", "cpu"),
        LoraConfig(r=3, target_modules=targets, fan_in_fan_out=architecture == "gpt2"),
    )
    weights = dict(adapted.named_parameters())
    for name in targets:
        a = weights[f"base_model.model.{name}.lora_A.default.weight"]
        b = weights[f"base_model.model.{name}.lora_B.default.weight"]
        assert tuple(a.shape) == (3, manifest.modules[name].in_features)
        assert tuple(b.shape) == (manifest.modules[name].out_features, 3)


def test_projections_outside_the_layers_are_left_out(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "opt")
    model = load_model(path, "auto", "cpu")
    assert "model.decoder.project_in" in dict(model.named_modules())
    assert "model.decoder.project_in" not in describe_base(path, "tiny", model).modules
