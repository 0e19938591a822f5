"""A checkpoint loads frozen and whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from service.base import load_model
from service.errors import BaseUnavailable
from tests.service.base.checkpoints import checkpoint, model


@pytest.mark.parametrize(("dtype", "loaded"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_frozen_with_the_saved_weights(
    tmp_path: Path, dtype: Literal["auto", "bfloat16"], loaded: torch.dtype
) -> None:
    found = load_model(checkpoint(tmp_path, seed=3), dtype, "cpu", attn_implementation="sdpa")
    assert found.dtype == loaded
    assert found.config._attn_implementation == "sdpa"
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    wanted = model("llama", seed=3).state_dict()
    for name, weight in found.state_dict().items():
        assert torch.equal(weight, wanted[name].to(loaded))


def test_a_missing_weight_is_not_drawn_at_random(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BaseUnavailable, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(tmp_path, "auto", "cpu")


def test_a_weight_of_another_shape(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] = torch.ones(17)
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BaseUnavailable, match=r"model\.norm\.weight"):
        load_model(tmp_path, "auto", "cpu")


@pytest.mark.parametrize(
    "config", ["{}", "not json", '{"model_type": "no_such_model"}', '{"auto_map": {"AutoConfig": "evil.Config"}}']
)
def test_a_config_that_is_not_ours_to_load(tmp_path: Path, config: str) -> None:
    checkpoint(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('remote code ran')")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BaseUnavailable, match="cannot be loaded"):
        load_model(tmp_path, "auto", "cpu")


def test_cut_weights(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BaseUnavailable, match="cannot be loaded"):
        load_model(tmp_path, "auto", "cpu")
