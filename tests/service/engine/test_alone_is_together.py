"""Promise P4: a request's greedy tokens are the same alone and in any batch, whatever was loaded before.

In torch this is promised in float32; the native backend keeps it in bfloat16 too, bit by bit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from service.engine.engine import Engine
from service.engine.kernels.levels import Level
from service.settings import EngineOptions
from tests.models import tiny_base
from tests.promises import check_alone_is_together

from .computing import NATIVE, load, name_of, ways

CASES = [(architecture, way, "float32") for architecture in ("llama", "gpt2") for way in ways(architecture)]
CASES += [(architecture, way, "bfloat16") for architecture in ("llama", "qwen2") for way in NATIVE]


@pytest.mark.parametrize(("architecture", "way", "dtype"), CASES, ids=name_of)
def test_tokens_alone_and_together(architecture: str, way: Level | None, dtype: str, tmp_path: Path) -> None:
    def served(base: PreTrainedModel, options: EngineOptions) -> Engine:
        return load(base.to(getattr(torch, dtype)), options, way)

    check_alone_is_together(tiny_base(architecture), architecture, served, tmp_path)
