"""One running service for the tests that leave it as they found it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig

from service.base import load_model, prepare_base
from service.settings import Settings
from tests.acceptance.up import STOP_S, Up, eventually
from tests.models import random_adapter, save

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A service with the bundled base; stopped with SIGTERM, and nothing may be left of it."""
    root = tmp_path_factory.mktemp("up")
    service = Up(root / "data", root / "log")
    try:
        service.start("--feedback.enabled", "--examples", str(EXAMPLES))
        yield service
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.process.poll() is not None and service.gone(), STOP_S)
        assert service.process.returncode == 0
    finally:
        for process in service.processes():
            process.kill()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random LoRA adapters of the bundled base, strong enough to change every answer."""
    base = load_model(prepare_base(Settings(), print).path, "float32", "cpu")
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    root = tmp_path_factory.mktemp("adapters")
    return [save(random_adapter(base, config, seed, 0.1), root / str(seed)) for seed in range(3)]
