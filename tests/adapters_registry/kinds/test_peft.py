"""Adapters as PEFT really saves them: the manifest's modules, ranks and scales are PEFT's own."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from adapters_registry.errors import RegistryError
from adapters_registry.folder import CONFIG, WEIGHTS, describe
from adapters_registry.kinds import ArtifactFile, build_manifest
from adapters_registry.manifest import BaseManifest, Manifest
from adapters_registry.settings import Limits
from service.base import describe_model
from tests.models import lora_configs, random_adapter, save, tiny_base

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # PEFT's advice

PROJECTIONS = {"llama": "q_proj", "qwen2": "q_proj", "gemma": "q_proj", "gpt2": "c_attn"}


@cache
def bases(architecture: str) -> tuple[PreTrainedModel, BaseManifest]:
    model = tiny_base(architecture)
    return model, describe_model(model, architecture, "sha256:" + "0" * 64)


def judge(folder: Path, base: BaseManifest) -> Manifest:
    files = [ArtifactFile(describe(folder / name), partial((folder / name).open, "rb")) for name in (CONFIG, WEIGHTS)]
    return build_manifest(base, files, Limits())


def saved(architecture: str, folder: Path, **settings: Any) -> tuple[PeftModel, Manifest]:
    model, base = bases(architecture)
    config = LoraConfig(**{"target_modules": [PROJECTIONS[architecture]], "task_type": "CAUSAL_LM"} | settings)
    adapter = random_adapter(model, config, seed=0)
    return adapter, judge(save(adapter, folder), base)


def peft_says(model: PeftModel) -> dict[str, tuple[int, float]]:
    """Rank and scale by module, as PEFT's layers hold them."""
    return {
        name.removeprefix("base_model.model."): (layer.r["default"], layer.scaling["default"])
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    }


def we_say(manifest: Manifest) -> dict[str, tuple[int, float]]:
    return {module.module: (module.rank, module.scale) for module in manifest.modules if module.rank}


@pytest.mark.parametrize("architecture", PROJECTIONS)
@pytest.mark.parametrize("which", range(8))
def test_rank_and_scale_of_each_module(architecture, which, tmp_path):
    model, base = bases(architecture)
    config = lora_configs(architecture)[which]
    adapter = random_adapter(model, config, seed=which)
    assert we_say(judge(save(adapter, tmp_path), base)) == peft_says(adapter)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": r".*\.(0|2)\.self_attn\.[qk]_proj"},
        {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*\.1\..*"},
        {"target_modules": ["q_proj"], "layers_to_transform": 1},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 2], "layers_pattern": "layers"},
        {"rank_pattern": {r"^model\.layers\.0\..*": 3, "q_proj": 5}, "alpha_pattern": {"1.self_attn.q_proj": 7}},
        {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {r".*proj": 2.5}, "use_rslora": True},
        {"rank_pattern": {"proj": 6, "elf_attn.q_proj": 7}},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
    ],
)
def test_which_modules_and_how(settings, tmp_path):
    adapter, manifest = saved("llama", tmp_path, **settings)
    assert we_say(manifest) == peft_says(adapter)


@pytest.mark.parametrize(("bias", "norms"), [("none", 0), ("lora_only", 0), ("all", 7)])
def test_every_bias_that_was_saved_is_honoured(bias, norms, tmp_path):
    _, manifest = saved("gpt2", tmp_path, bias=bias, fan_in_fan_out=True)
    changed = [module.module for module in manifest.modules if module.bias]
    assert len([name for name in changed if "ln_" in name]) == norms
    assert len(changed) == {"none": 0, "lora_only": 3, "all": 3 * 4 + norms}[bias]


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"use_dora": True}, "unsupported_field", "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "unsupported_field", "modules_to_save"),
        ({"trainable_token_indices": [1, 2]}, "unsupported_field", "trainable_token_indices"),
        ({"target_modules": ["q_proj", "lm_head"]}, "unknown_module", "lm_head"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "unknown_module", "model.embed_tokens"),
        ({"init_lora_weights": "pissa"}, "unsupported_field", "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "unsupported_field", "init_lora_weights"),
        ({"alora_invocation_tokens": [3]}, "unsupported_field", "alora_invocation_tokens"),
        ({"layer_replication": [(0, 2), (1, 3)]}, "unsupported_field", "layer_replication"),
        ({"r": 300}, "rank_too_large", "r"),
    ],
)
def test_what_peft_saves_and_is_not_honoured(settings, code, named, tmp_path):
    with pytest.raises(RegistryError) as caught:
        saved("llama", tmp_path, **settings)
    assert (caught.value.code, caught.value.param) == (code, named)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}])
def test_a_converted_pissa_is_plain_lora(settings, tmp_path):
    model, base = bases("llama")
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa", **settings)
    adapter = random_adapter(model, config, seed=0)
    untrained = random_adapter(model, config, seed=1)
    untrained.peft_config["default"].init_lora_weights = True
    untrained.save_pretrained(tmp_path / "init")
    adapter.save_pretrained(tmp_path / "plain", path_initial_model_for_weight_conversion=str(tmp_path / "init"))
    assert judge(tmp_path / "plain", base).rank == 8


def test_an_untrained_adapter_changes_nothing(tmp_path):
    folder = save(get_peft_model(tiny_base("llama"), LoraConfig(target_modules=["q_proj"])), tmp_path)
    with pytest.raises(RegistryError) as caught:
        judge(folder, bases("llama")[1])
    assert caught.value.code == "no_effect"


def test_an_adapter_of_another_base(tmp_path):
    folder = tmp_path / "gpt2"
    saved("gpt2", folder)
    with pytest.raises(RegistryError) as caught:
        judge(folder, bases("llama")[1])
    assert caught.value.code == "unknown_module"
    _, other = saved("llama", tmp_path / "llama")
    with pytest.raises(RegistryError) as caught:
        judge(tmp_path / "llama", bases("gemma")[1])
    assert caught.value.code == "shape_mismatch"
    assert other.modules[0].module in str(caught.value)
