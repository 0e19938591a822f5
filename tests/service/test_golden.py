"""An adapter that a past release published is fetched, checked against its digest, and answers as PEFT does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from adapters_registry.api.app import create_app
from adapters_registry.client import RegistryClient
from adapters_registry.feed import Feed
from adapters_registry.manifest import FORMAT
from adapters_registry.opening import open_registry
from adapters_registry.settings import Limits
from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from service.adapters.source import RegistrySource
from service.base import describe_base, load_model
from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.load import load_engine
from service.settings import EngineOptions
from service.values import AdapterRef, GenerateRequest, SamplingParams
from tests.adapters_registry.conftest import serving
from tests.artefacts import GOLDEN, Golden
from tests.engines import run_jobs


@dataclass(frozen=True)
class Place:
    """A past release's registry, served, and the engine of today over its base."""

    golden: Golden
    client: RegistryClient
    engine: Engine
    loader: SlabLoader[BoundAdapter]

    def answer(self, adapter: BoundAdapter | None) -> list[int]:
        """Greedy tokens after the prompt."""
        count = len(self.golden.tokens("base"))
        sampling = SamplingParams(max_tokens=count, temperature=0, ignore_eos=True)
        request = GenerateRequest("r", "t", tuple(self.golden.expected["prompt"]), sampling, 60)
        return run_jobs(self.engine, [(request, adapter)])["r"]

    def served(self, alias: str) -> list[int]:
        """What the adapter that ``alias`` points at answers."""
        found = self.client.resolve("acme", "support", alias)
        ref = AdapterRef("acme", "support", found.version, found.digest)
        return self.answer(self.loader.load(ref).adapter)


@pytest.fixture(params=GOLDEN, ids=str)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    golden: Golden = request.param
    feed = Feed()
    with (
        open_registry(golden.data(tmp_path / "data"), Limits(), feed.committed) as registry,
        serving(create_app(registry, feed, Limits())) as url,
        RegistryClient(url, key=golden.expected["sqlite"]["keys"]["operator"]) as client,
    ):
        yield Place(golden, client, *_engine(golden, client, tmp_path))


def _engine(golden: Golden, client: RegistryClient, cache: Path) -> tuple[Engine, SlabLoader[BoundAdapter]]:
    model: PreTrainedModel = load_model(golden.base, dtype="float32", device="cpu")
    base = describe_base(golden.base, "golden", model)
    assert base.digest == golden.expected["sqlite"]["base"], "a base has the digest that a past release gave it"
    options = EngineOptions(kv_cache_bytes=1 << 20, backend="torch")
    engine = load_engine(model, options, name="golden", base_digest=base.digest, cache_dir=cache)
    return engine, SlabLoader(RegistrySource(client), SlabCache(cache / "slabs", 1 << 20), base, engine)


def test_what_a_past_release_published_answers_as_peft_does(place: Place) -> None:
    assert place.answer(None) == place.golden.tokens("base")
    assert place.served("canary") == place.golden.tokens("patterns")
    assert place.served("production") == place.golden.tokens("rslora")


def test_what_this_release_publishes_beside_it_answers_the_same(place: Place) -> None:
    """In the newest format, as a service that reads it has announced the base."""
    base = place.client.base(place.golden.expected["sqlite"]["base"])
    place.client.put_base(base.model_copy(update={"runs": tuple(place.engine.backend.capabilities)}))
    for folder in ("plain", "rslora", "patterns", "one-layer"):
        record = place.client.push(place.golden.root / "folders" / folder, "acme", folder).published.record
        assert place.client.version(record.digest).manifest.format == FORMAT
        ref = AdapterRef("acme", folder, record.number, record.digest)
        assert place.answer(place.loader.load(ref).adapter) == place.golden.tokens(folder)


def test_promoted_and_rolled_back_it_answers_as_the_version_that_is_live(place: Place) -> None:
    place.client.promote("acme", "support", 3)
    assert place.served("production") == place.golden.tokens("patterns")
    place.client.protect_alias("acme", "support", "production", False)
    place.client.rollback("acme", "support")
    assert place.served("production") == place.golden.tokens("rslora")
    place.client.promote("acme", "support", 1)
    assert place.served("production") == place.golden.tokens("plain")
