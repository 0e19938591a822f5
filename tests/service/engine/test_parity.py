"""Promise P3: our logits are PEFT's, for every LoRA variant, alone and mixed in one batch with base rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from service.engine.kernels.levels import Level
from tests.models import CONFIGS, tiny_base
from tests.promises import check_parity

from .computing import load, name_of, ways

CASES = [(architecture, way) for architecture in CONFIGS for way in ways(architecture)]


@pytest.mark.parametrize(("architecture", "way"), CASES, ids=name_of)
def test_logits_are_pefts_alone_and_mixed_with_the_base(architecture: str, way: Level | None, tmp_path: Path) -> None:
    check_parity(tiny_base(architecture), architecture, partial(load, way=way), tmp_path)
