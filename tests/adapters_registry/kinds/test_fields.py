"""Every field of the installed PEFT's config is honoured, without effect, or refused by name."""

from __future__ import annotations

import dataclasses
import io
import json
from functools import partial
from typing import Any

import pytest
from peft import LoraConfig, PeftType

from adapters_registry.errors import RegistryError
from adapters_registry.folder import CONFIG, WEIGHTS
from adapters_registry.kinds import KINDS, ArtifactFile, build_manifest
from adapters_registry.kinds import lora_config as ours
from adapters_registry.manifest import AdaptedModule, File
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts
from tests.adapters_registry.kinds.fields import FIELDS, Field

PASSING = [(field.name, value) for field in FIELDS for value in field.passes]
REFUSED = [(field, value) for field in FIELDS for value in field.refused]


def modules(**changes: Any) -> tuple[AdaptedModule, ...]:
    """What the adapter does to the base, under a config with these changes."""
    contents = {
        CONFIG: json.dumps(artifacts.config(**changes)).encode(),
        WEIGHTS: artifacts.pack(artifacts.tensors()),
    }
    files = [
        ArtifactFile(File(path=path, digest=artifacts.sha256(data), size=len(data)), partial(io.BytesIO, data))
        for path, data in contents.items()
    ]
    return build_manifest(artifacts.base(), files, Limits(rank=8)).modules


def test_the_table_has_every_field_of_peft() -> None:
    assert {field.name for field in FIELDS} == {field.name for field in dataclasses.fields(LoraConfig)}


@pytest.mark.parametrize(("name", "value"), PASSING, ids=str)
def test_passes(name: str, value: Any) -> None:
    changed = modules(**{name: value})
    assert len(changed) == 2
    if name not in ours.LoraConfig.model_fields:
        assert changed == modules(), "it is without effect"


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=lambda value: getattr(value, "name", str(value)))
def test_refused_by_name(field: Field, value: Any) -> None:
    with pytest.raises(RegistryError) as caught:
        modules(**{field.name: value})
    assert caught.value.code == field.code
    if field.code not in ("unknown_module", "missing_tensor", "no_effect"):  # which name what does not fit
        assert caught.value.param == field.name


def test_every_other_kind_is_refused() -> None:
    others = [kind.value for kind in PeftType if kind.value not in KINDS]
    assert len(others) > 20
    for kind in others:
        with pytest.raises(RegistryError, match=f"peft_type {kind} is not supported yet: train with LORA") as caught:
            modules(peft_type=kind)
        assert (caught.value.code, caught.value.param) == ("unsupported_field", "peft_type")
