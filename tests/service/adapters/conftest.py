"""A small base and a loader for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from adapters_registry.manifest import BaseManifest, BaseModule
from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from tests.fakes import FakeSource
from tests.service.adapters.versions import SITE, WIDE, Form


@pytest.fixture
def base() -> BaseManifest:
    return BaseManifest(
        digest="sha256:" + "b" * 64,
        name="tiny",
        architecture="LlamaForCausalLM",
        dtype="float32",
        vocab_size=32,
        layers=1,
        modules={
            SITE: BaseModule(type="linear", in_features=8, out_features=6, bias=False),
            WIDE: BaseModule(type="linear", in_features=8, out_features=65536, bias=False),
        },
    )


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def slabs(tmp_path: Path) -> SlabCache:
    return SlabCache(tmp_path / "adapters", disk_bytes=1 << 30)


@pytest.fixture
def loader(source: FakeSource, slabs: SlabCache, base: BaseManifest) -> SlabLoader[dict[str, Tensor]]:
    return SlabLoader(source, slabs, base, Form())
