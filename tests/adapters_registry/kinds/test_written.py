"""What other tools write is accepted where PEFT would compute the same, and what was done to it is noted."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

import pytest

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.errors import RegistryError
from adapters_registry.findings import NOTE_CHARS, Inspection, Note
from adapters_registry.folder import CONFIG, WEIGHTS
from adapters_registry.kinds import ArtifactFile, judge
from adapters_registry.kinds.lora_config import REFUSED, WITHOUT_EFFECT, LoraConfig
from adapters_registry.kinds.lora_names import read_names
from adapters_registry.manifest import BaseManifest, File
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.kinds.fields import FIELDS
from tests.adapters_registry.kinds.written import STILL_REFUSED, WRITTEN, Written


def inspect(
    case: Written, allowed: Allowances | None = None, base: BaseManifest | None = None, **changes: Any
) -> Inspection:
    contents = {
        CONFIG: json.dumps(artifacts.config(**case.config, **changes)).encode(),
        WEIGHTS: artifacts.pack(case.arrays()),
    }
    files = [
        ArtifactFile(File(path=path, digest=artifacts.sha256(data), size=len(data)), partial(io.BytesIO, data))
        for path, data in contents.items()
    ]
    return judge(base or artifacts.base(), files, Limits(rank=8), case.allowed if allowed is None else allowed)


PLAIN = Written("as PEFT saves it", "")


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.what)
def test_accepted_as_the_adapter_that_it_is(case: Written) -> None:
    found = inspect(case)
    assert {note.code for note in found.notes} == {case.note}
    assert found.manifest.dtype == "float32"
    arrays = case.arrays()
    for module, plain in zip(found.manifest.modules, inspect(PLAIN).manifest.modules, strict=True):
        assert (module.module, module.rank, module.scale) == (plain.module, 2, 2.0)
        shapes = [arrays[name].shape for role, name in module.tensors.items() if role in "ab"]
        assert shapes == [(2, 4), (6, 2)], "the file's own names"


@pytest.mark.parametrize("case", [case for case in WRITTEN if case.refused], ids=lambda case: case.what)
def test_what_needs_to_be_allowed_says_how(case: Written) -> None:
    with pytest.raises(
        RegistryError, match=r"--allow-partial|--allow-no-effect|--ignore-field of_tomorrow"
    ) as caught:
        inspect(case, NOTHING)
    assert (caught.value.code, caught.value.param) == case.refused


@pytest.mark.parametrize("case", STILL_REFUSED, ids=lambda case: case.what)
def test_what_would_change_the_effect_is_refused_all_the_same(case: Written) -> None:
    with pytest.raises(RegistryError) as caught:
        inspect(case)
    assert (caught.value.code, caught.value.param) == case.refused


def test_as_peft_saves_it_nothing_is_noted() -> None:
    assert inspect(PLAIN).notes == ()
    everything = Allowances(partial=True, no_effect=True, ignore_fields=("of_tomorrow",))
    assert inspect(PLAIN, everything) == inspect(PLAIN), "what was allowed and not made use of is no matter"


def test_notes_say_what_was_done() -> None:
    said = {case.what: " ".join(note.message for note in inspect(case).notes) for case in WRITTEN}
    assert said["`target_modules` that also name modules which the base lacks"].endswith("does not have: w.")
    assert "up_proj" in said["fewer modules than the configuration names"]
    assert 'of_tomorrow = {"x": 1}' in said["an unknown field"]
    assert "MLX: fine_tune_type, lora_parameters, num_layers" in said["fields of MLX"]


def test_every_missing_module_is_named_or_counted() -> None:
    with pytest.raises(RegistryError, match=r"nothing of model\.layers\.\*\.mlp\.up_proj \(2\): push"):
        inspect(PLAIN, NOTHING, target_modules="all-linear")


def test_copies_cannot_be_told_on_a_base_that_an_earlier_release_announced() -> None:
    base = artifacts.base()
    head = base.modules["lm_head"].model_copy(update={"weight": None})
    case = next(case for case in WRITTEN if "in other types" in case.what)
    with pytest.raises(RegistryError, match="upgrade the service") as caught:
        inspect(case, base=base.model_copy(update={"modules": base.modules | {"lm_head": head}}))
    assert caught.value.code == "unexpected_tensor"


def test_the_base_prefix_is_guessed_only_where_one_module_fits() -> None:
    base = artifacts.base()
    twin = {name.replace("model.", "other.", 1): module for name, module in base.modules.items()}
    case = next(case for case in WRITTEN if case.what == "names of the inner model")
    with pytest.raises(RegistryError) as caught:
        inspect(case, base=base.model_copy(update={"modules": base.modules | twin}))
    assert caught.value.code == "unknown_module"


def test_pefts_own_fields_are_the_ones_that_nobody_may_ignore() -> None:
    pefts = {field.name for field in FIELDS} - {"peft_type"}
    assert pefts - set(LoraConfig.model_fields) - WITHOUT_EFFECT == set(REFUSED)


def test_a_note_is_bounded_and_can_be_sent() -> None:
    note = Note.of("partial", "\ud800" + "x" * 5000)
    assert len(note.message) == NOTE_CHARS
    assert Note.model_validate_json(note.model_dump_json()) == note


@pytest.mark.parametrize("tensor", ["_orig_mod", "module", "base_model.model", "_orig_mod.module"])
def test_a_name_of_wrappers_alone_is_no_lora(tensor: str) -> None:
    with pytest.raises(RegistryError) as caught:
        read_names([tensor], artifacts.base())
    assert (caught.value.code, caught.value.param) == ("unexpected_tensor", tensor)
