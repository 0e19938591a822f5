"""One running service for the tests that leave it as they found it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig

from service.base import load_model, prepare_base
from service.settings import Settings
from tests.acceptance.plane import Plane, plane_with_keys
from tests.acceptance.up import Up, eventually, free_port
from tests.models import random_adapter, save

OPTIONS = ("--feedback.enabled", "--examples", "bundled")


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A service with the bundled base; killed at the end, and nothing may be left of it."""
    root = tmp_path_factory.mktemp("up")
    service = Up(root / "data", root / "log")
    pages = json.dumps([f"http://127.0.0.1:{free_port()}"])
    service.variables |= {"QUICKCHANGE_CORS_ORIGINS": pages, "QUICKCHANGE_REGISTRY_CORS_ORIGINS": pages}
    try:
        service.start(*OPTIONS)
        yield service
        service.process.kill()  # no chance to clean up: its service hears of it from the kernel
        eventually(service.gone, 60.0)
    finally:
        for process in service.processes():
            process.kill()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory, folders: list[Path]) -> Iterator[Plane]:
    """A service with keys; test_keys_without_registry.py, the last that uses it, stops it."""
    with plane_with_keys(tmp_path_factory.mktemp("keys"), folders, "--examples", "bundled") as running:
        yield running


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random LoRA adapters of the bundled base, strong enough to change every answer."""
    base = load_model(prepare_base(Settings(), print).path, "float32", "cpu")
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    root = tmp_path_factory.mktemp("adapters")
    return [save(random_adapter(base, config, seed, 0.1), root / str(seed)) for seed in range(3)]
