"""Adapters as PEFT really saves them: the manifest's modules, ranks and scales are PEFT's own."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

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
from tests.adapters_registry.kinds.saved import SUPPORTED, UNSUPPORTED, Saved
from tests.models import lora_configs, random_adapter, save, tiny_base

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # PEFT's advice

PROJECTIONS = {"llama": "q_proj", "qwen2": "q_proj", "gemma": "q_proj", "gpt2": "c_attn"}


@cache
def bases(architecture: str) -> tuple[PreTrainedModel, BaseManifest]:
    model = tiny_base(architecture)
    return model, describe_model(model, architecture, "sha256:" + "0" * 64)


def inspect(folder: Path, base: BaseManifest) -> Manifest:
    files = [ArtifactFile(describe(folder / name), partial((folder / name).open, "rb")) for name in (CONFIG, WEIGHTS)]
    return build_manifest(base, files, Limits())


def saved(case: Saved, folder: Path) -> tuple[PeftModel, Manifest]:
    """The case as PEFT has it, and what we make of the folder that it saved."""
    model, base = bases(case.architecture)
    settings = {"target_modules": [PROJECTIONS[case.architecture]], "task_type": "CAUSAL_LM"} | case.settings
    config = LoraConfig(**settings)
    adapter = random_adapter(model, config, seed=0)
    if not case.convert:
        return adapter, inspect(save(adapter, folder), base)
    untrained = random_adapter(model, config, seed=1)
    untrained.peft_config["default"].init_lora_weights = True
    untrained.save_pretrained(folder / "init")
    adapter.save_pretrained(folder / "plain", path_initial_model_for_weight_conversion=str(folder / "init"))
    return adapter, inspect(folder / "plain", base)


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
    assert we_say(inspect(save(adapter, tmp_path), base)) == peft_says(adapter)


@pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case.what)
def test_supported_as_peft_computes_it(case, tmp_path):
    adapter, manifest = saved(case, tmp_path)
    grown = 2 if case.convert else 1  # the conversion doubles ranks and keeps scales
    assert we_say(manifest) == {
        module: (rank * grown, pytest.approx(scale)) for module, (rank, scale) in peft_says(adapter).items()
    }


@pytest.mark.parametrize(("bias", "norms"), [("none", 0), ("lora_only", 0), ("all", 7)])
def test_every_bias_that_was_saved_is_honoured(bias, norms, tmp_path):
    _, manifest = saved(Saved("biases", {"bias": bias, "fan_in_fan_out": True}, "gpt2"), tmp_path)
    changed = [module.module for module in manifest.modules if "bias" in module.tensors]
    assert len([name for name in changed if "ln_" in name]) == norms
    assert len(changed) == {"none": 0, "lora_only": 3, "all": 3 * 4 + norms}[bias]


@pytest.mark.parametrize("case", UNSUPPORTED, ids=lambda case: case.what)
def test_what_peft_saves_and_is_not_honoured(case, tmp_path):
    with pytest.raises(RegistryError) as caught:
        saved(case, tmp_path)
    assert (caught.value.code, caught.value.param) == case.refused


def test_an_untrained_adapter_changes_nothing(tmp_path):
    folder = save(get_peft_model(tiny_base("llama"), LoraConfig(target_modules=["q_proj"])), tmp_path)
    with pytest.raises(RegistryError) as caught:
        inspect(folder, bases("llama")[1])
    assert caught.value.code == "no_effect"


def test_an_adapter_of_another_base(tmp_path):
    folder = tmp_path / "gpt2"
    saved(Saved("another base", {}, "gpt2"), folder)
    with pytest.raises(RegistryError) as caught:
        inspect(folder, bases("llama")[1])
    assert caught.value.code == "unknown_module"
    _, other = saved(Saved("another base", {}), tmp_path / "llama")
    with pytest.raises(RegistryError) as caught:
        inspect(tmp_path / "llama", bases("gemma")[1])
    assert caught.value.code == "shape_mismatch"
    assert other.modules[0].module in str(caught.value)
