"""The two services of these tests, each started once: ``up`` with the bundled base, ``small`` with a small one.

Both answer everybody at first. ``keyed_up`` and ``plane`` end that, each for its service: what needs them runs last
(tests/groups.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig

from service.base import load_model, prepare_base
from service.settings import BUNDLED_BASE, Settings
from tests import groups
from tests.acceptance.plane import Plane, Small, keyed, running_small
from tests.acceptance.small import load_small_base, save_adapter, save_small_base
from tests.acceptance.up import Up, eventually, free_port
from tests.models import random_adapter, save

HOST_BYTES = 10 * 12_288
"""Room in memory for ten of the small base's adapters: a test of evictions needs it, no other feels it."""


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Up:
    """With its examples and a registry of its own; killed after the last test, and nothing may be left of it."""
    root = tmp_path_factory.mktemp("up")
    service = Up(root / "data", root / "log")
    pages = json.dumps([f"http://127.0.0.1:{free_port()}"])
    service.variables |= {"QUICKCHANGE_CORS_ORIGINS": pages, "QUICKCHANGE_REGISTRY_CORS_ORIGINS": pages}
    ending = groups.ends_with("up")
    ending.callback(service.close)
    service.start("--feedback.enabled", "--examples", "bundled")
    ending.callback(_killed, service)
    return service


def _killed(service: Up) -> None:
    assert service.process is not None
    service.process.kill()  # no chance to clean up: its service hears of it from the kernel
    eventually(service.gone, 60.0)


@pytest.fixture(scope="session")
def keyed_up(up: Up) -> Iterator[Plane]:
    with keyed(up, BUNDLED_BASE) as plane:
        yield plane


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random LoRA adapters of the bundled base, strong enough to change every answer."""
    base = load_model(prepare_base(Settings(), print).path, "float32", "cpu")
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    root = tmp_path_factory.mktemp("adapters")
    return [save(random_adapter(base, config, seed, 0.1), root / str(seed)) for seed in range(3)]


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="session")
def small_folders(small_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of the small base."""
    base, root = load_small_base(small_base), tmp_path_factory.mktemp("small-adapters")
    return [save_adapter(base, root / str(seed), seed) for seed in range(3)]


@pytest.fixture(scope="session")
def small(small_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """With a registry beside it, so that a test can end that; its last test stops it."""
    root = tmp_path_factory.mktemp("small-up")
    return groups.ends_with("small").enter_context(
        running_small(
            root,
            small_base,
            QUICKCHANGE_ADAPTERS__HOST_BYTES=str(HOST_BYTES),
            QUICKCHANGE_LIMITS__ROUTE_S="120",  # a replica's successor may take long on a machine that does much else
        )
    )


@pytest.fixture(scope="session")
def plane(small: Small, small_folders: list[Path]) -> Iterator[Plane]:
    """``small`` with an operator and two tenants."""
    with keyed(small.up, small.model, dict(zip(("acme", "globex"), small_folders, strict=False))) as plane:
        yield plane
