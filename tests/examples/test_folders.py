"""Every committed adapter is one that the registry takes, small, and free of paths."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from adapters_registry.folder import CONFIG, WEIGHTS, check_folder, describe
from adapters_registry.kinds import ArtifactFile, build_manifest
from adapters_registry.manifest import BaseManifest
from adapters_registry.settings import Limits
from examples.voices import ROOT, VOICES, Voice
from service.base import describe_model
from service.commands.examples import BUNDLED_FOLDER, find_examples

TRAINED_ON = "HuggingFaceTB/SmolLM2-135M-Instruct"
MOST_BYTES = 2_000_000

every_voice = pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.model)


@cache
def smollm2() -> BaseManifest:
    """The bundled base's shapes, without its weights."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return describe_model(model, "smollm2-135m-instruct", "sha256:" + "0" * 64)


def strings(value: object) -> Iterator[str]:
    """Every string in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


@every_voice
def test_the_registry_takes_it(voice: Voice) -> None:
    assert check_folder(voice.folder) == ()
    files = [
        ArtifactFile(describe(voice.folder / name), partial((voice.folder / name).open, "rb"))
        for name in (CONFIG, WEIGHTS)
    ]
    manifest = build_manifest(smollm2(), files, Limits())
    assert (manifest.rank, len(manifest.modules)) == (8, 120)


@every_voice
def test_it_is_small(voice: Voice) -> None:
    assert (voice.folder / WEIGHTS).stat().st_size <= MOST_BYTES


@every_voice
def test_its_config_names_the_base_and_no_path(voice: Voice) -> None:
    config = json.loads((voice.folder / CONFIG).read_text("utf-8"))
    assert config["base_model_name_or_path"] == TRAINED_ON
    assert [found for found in strings(config) if "/" in found or "\\" in found] == [TRAINED_ON]


def test_versions_differ() -> None:
    assert len({describe(voice.folder / WEIGHTS).digest for voice in VOICES}) == len(VOICES)


def test_up_finds_them_all() -> None:
    found = [folder for example in find_examples(BUNDLED_FOLDER) for folder in example.versions]
    assert found == [voice.folder for voice in VOICES]


def test_they_are_in_the_checkout() -> None:
    if not (ROOT.parent / ".git").exists():
        pytest.skip("no git checkout")
    told = subprocess.check_output(["git", "ls-files"], cwd=ROOT.parent, text=True)
    tracked = {ROOT.parent / line for line in told.splitlines()}
    wanted: set[Path] = {ROOT / "scores.json", ROOT / "README.md"}
    for voice in VOICES:
        wanted |= {voice.folder / CONFIG, voice.folder / WEIGHTS, voice.data}
    assert wanted <= tracked
