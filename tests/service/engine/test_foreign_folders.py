"""Promise P3 for adapter folders as other tools write them: logits are PEFT's for the LoRA that the folder means."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.folder import CONFIG, WEIGHTS
from service.engine.engine import Engine
from service.settings import EngineOptions
from tests.engines import all_logits, bound_adapter, described, trial
from tests.models import oracle, random_adapter, tiny_base
from tests.promises import SPREADS, prompt_of
from tests.service.engine.computing import load

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PEFT's advice on some of these folders
ONE_LAYER = "model.layers.1"


@dataclass(frozen=True, slots=True)
class Form:
    """How a folder that PEFT saved is rewritten."""

    what: str
    rename: Callable[[str], str | None] = lambda name: name
    """None leaves the tensor out."""
    convert: Callable[[Tensor], Tensor] = lambda tensor: tensor
    config: tuple[tuple[str, Any], ...] = ()
    with_embeddings: bool = False
    allowed: Allowances = NOTHING
    peft: bool = True
    """Whether PEFT itself loads it with this effect; it passes over the others without a word."""


FORMS = (
    Form("adapter's name", lambda name: name.replace(".weight", ".default.weight")),
    Form("compiled", lambda name: f"_orig_mod.{name}", peft=False),
    Form("no prefix", lambda name: name.removeprefix("base_model.model."), peft=False),
    Form("inner model", lambda name: name.replace("model.model.model.", "model.model."), peft=False),
    Form("more target modules", config=(("target_modules", ["q_proj", "down_proj", "query_key_value", "score"]),)),
    Form("sequence to sequence", config=(("task_type", "SEQ_2_SEQ_LM"),)),
    Form("feature extraction", config=(("task_type", "FEATURE_EXTRACTION"),)),
    Form("other tools' fields", config=(("fine_tune_type", "lora"), ("num_layers", 3), ("lorap_emb_lr", 1e-6))),
    Form("null", config=(("use_rslora", None), ("fan_in_fan_out", None), ("lora_bias", None))),
    Form("float64", convert=Tensor.double),
    Form("embeddings beside it", with_embeddings=True),
    Form("embeddings in float64", convert=Tensor.double, with_embeddings=True),
    Form(
        "one layer missing",
        lambda name: None if ONE_LAYER in name else name,
        allowed=Allowances(partial=True),
    ),
    Form("all-linear in part", config=(("target_modules", "all-linear"),), allowed=Allowances(partial=True)),
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load(copy.deepcopy(tiny_base("llama")), EngineOptions(kv_cache_bytes=1 << 20, block_tokens=8), None)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.what)
def test_logits_are_pefts(form: Form, engine: Engine, tmp_path: Path) -> None:
    base, prompt = tiny_base("llama"), prompt_of(3)
    model = random_adapter(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]), seed=7)
    model.save_pretrained(tmp_path, save_embedding_layers=form.with_embeddings)
    rewrite(tmp_path, form)
    if form.allowed.partial:
        model = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).eval()
    wanted, spread = oracle(model, prompt)
    assert float((wanted - oracle(copy.deepcopy(base), prompt)[0]).abs().max()) >= 1, "too weak to show a difference"
    if form.peft:
        theirs, _ = oracle(PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).eval(), prompt)
        assert float((theirs - wanted).abs().max()) <= SPREADS * spread, "PEFT does not load it with this effect"
    adapter = bound_adapter(engine, base, tmp_path, form.allowed)
    (ours,) = all_logits(engine, [trial(1, prompt, adapter)])
    assert float((ours - wanted).abs().max()) <= SPREADS * spread


def test_an_untrained_adapter_answers_as_the_base(engine: Engine, tmp_path: Path) -> None:
    base, prompt = tiny_base("llama"), prompt_of(3)
    model = random_adapter(base, LoraConfig(r=4, target_modules=["q_proj"]), seed=7)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({name: tensor * ("lora_A" in name) for name, tensor in tensors.items()}, tmp_path / WEIGHTS)
    adapter = bound_adapter(engine, base, tmp_path, Allowances(no_effect=True))
    (ours,), (plain,) = all_logits(engine, [trial(1, prompt, adapter)]), all_logits(engine, [trial(2, prompt, None)])
    assert torch.equal(ours, plain)


def test_weights_digests_are_those_of_the_values_in_any_type() -> None:
    base = tiny_base("llama").bfloat16()
    known = described(base).modules["model.embed_tokens"].weight
    assert known == described(base.float()).modules["model.embed_tokens"].weight
    assert known != described(base).modules["lm_head"].weight


def rewrite(folder: Path, form: Form) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | dict(form.config)))
    tensors = load_file(folder / WEIGHTS)
    renamed = {form.rename(name): form.convert(tensor) for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in renamed.items() if name is not None}, folder / WEIGHTS)
