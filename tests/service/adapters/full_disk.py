"""A process whose cache lies on a failing disk: loads the adapter of each seed it reads, and says if it is right."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from adapters_registry.manifest import BaseManifest, BaseModule
from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from tests.fakes import FakeSource
from tests.service.adapters.versions import SITE, Form, lora, lora_tensors, publish

BASE = BaseManifest(
    digest="sha256:" + "b" * 64,
    name="tiny",
    architecture="LlamaForCausalLM",
    dtype="float32",
    vocab_size=32,
    layers=1,
    modules={SITE: BaseModule(type="linear", in_features=8, out_features=6, bias=False)},
)


def main(root: Path) -> None:
    source = FakeSource()
    loader = SlabLoader(source, SlabCache(root, 1 << 30), BASE, Form())
    for line in sys.stdin:
        loaded = loader.load(publish(source, BASE, seed=int(line)))
        wanted = lora_tensors(lora(), BASE, int(line))[f"{SITE}.lora_A.weight"].t()
        print("right" if torch.equal(loaded.adapter[f"{SITE}/a_t"], wanted) else "wrong", flush=True)


main(Path(sys.argv[1]))
