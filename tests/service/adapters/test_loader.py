"""From digest to adapter: what is fetched is checked, what is on disk needs no registry."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapters_registry.manifest import BaseManifest, Manifest
from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from service.errors import AdapterFailed, AdapterIncompatible, ModelNotFound
from service.values import AdapterRef
from tests.fakes import FakeSource
from tests.service.adapters.versions import SITE, Form, lora, lora_tensors, publish

Loader = SlabLoader[dict[str, Tensor]]


def test_fetched_once_then_read_from_the_slab(loader: Loader, source: FakeSource, base: BaseManifest) -> None:
    ref = publish(source, base, seed=3)
    first, second = loader.load(ref), loader.load(ref)

    assert source.calls == ["manifest", "fetch"]
    wanted = lora_tensors(lora(), base, seed=3)
    for loaded in (first, second):
        assert torch.equal(loaded.adapter[f"{SITE}/a_t"], wanted[f"{SITE}.lora_A.weight"].t())
        assert torch.equal(loaded.adapter[f"{SITE}/b_t"], wanted[f"{SITE}.lora_B.weight"].t())
    assert first.nbytes == second.nbytes >= sum(t.nbytes for t in wanted.values())
    assert second.reload_s > 0


def test_a_slab_outlives_a_restart_and_the_registry(
    loader: Loader, source: FakeSource, slabs: SlabCache, base: BaseManifest
) -> None:
    ref = publish(source, base)
    before = loader.load(ref).adapter
    source.error = AdapterFailed("the registry does not answer")
    after = SlabLoader(source, slabs, base, Form()).load(ref).adapter
    assert all(torch.equal(after[name], before[name]) for name in before)
    with pytest.raises(AdapterFailed, match="does not answer"):
        loader.load(publish(source, base, seed=1))


def test_a_corrupt_slab_is_fetched_again(
    loader: Loader, source: FakeSource, base: BaseManifest, tmp_path: Path
) -> None:
    ref = publish(source, base)
    before = loader.load(ref).adapter
    path = next((tmp_path / "adapters").glob("*.slab"))
    path.write_bytes(path.read_bytes()[:-8])
    after = loader.load(ref).adapter
    assert source.calls == ["manifest", "fetch"] * 2
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_another_manifest_than_asked_for_is_not_served(
    loader: Loader, source: FakeSource, base: BaseManifest, tmp_path: Path
) -> None:
    ref, other = publish(source, base, seed=1), publish(source, base, seed=2)
    source.manifests[ref.digest] = source.manifests[other.digest]
    with pytest.raises(AdapterFailed, match="another manifest"):
        loader.load(ref)
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_manifest_of_a_newer_release_is_loaded_under_its_own_digest(
    loader: Loader, source: FakeSource, base: BaseManifest
) -> None:
    ref = publish(source, base)
    text = source.manifests[ref.digest].canonical_json().decode()[:-1] + ',"zz":{"bits":4}}'
    newer = Manifest.stored(text)
    source.manifests[newer.digest] = newer
    assert newer.digest != ref.digest
    assert loader.load(replace(ref, digest=newer.digest)).nbytes


def test_a_manifest_of_a_newer_format_is_not_applied(loader: Loader, source: FakeSource, base: BaseManifest) -> None:
    ref = publish(source, base)
    text = source.manifests[ref.digest].canonical_json().decode().replace('"format":1', '"format":2')
    newer = Manifest.stored(text)
    source.manifests[newer.digest] = newer
    with pytest.raises(AdapterIncompatible, match="upgrade the service"):
        loader.load(replace(ref, digest=newer.digest))


def test_other_bytes_than_the_manifest_says_are_not_served(
    loader: Loader, source: FakeSource, base: BaseManifest, tmp_path: Path
) -> None:
    ref = publish(source, base)
    for digest, data in source.files.items():
        source.files[digest] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(AdapterFailed, match="other bytes"):
        loader.load(ref)
    assert list((tmp_path / "adapters").iterdir()) == []


def test_an_adapter_of_another_base_is_refused(loader: Loader, source: FakeSource, base: BaseManifest) -> None:
    ref = publish(source, base.model_copy(update={"digest": "sha256:" + "c" * 64}))
    with pytest.raises(AdapterIncompatible, match="made for base") as error:
        loader.load(ref)
    assert source.calls == ["manifest"]
    assert (ref.digest in error.value.message, ref.name in error.value.message) == (True, False)


def test_a_slab_of_another_base_is_refused(
    loader: Loader, source: FakeSource, slabs: SlabCache, base: BaseManifest
) -> None:
    ref = publish(source, base)
    loader.load(ref)
    other = base.model_copy(update={"digest": "sha256:" + "c" * 64})
    with pytest.raises(AdapterIncompatible, match="made for base"):
        SlabLoader(source, slabs, other, Form()).load(ref)


def test_unknown_version(loader: Loader) -> None:
    with pytest.raises(ModelNotFound):
        loader.load(AdapterRef("acme", "gone", 1, "sha256:" + "0" * 64))


def test_a_full_disk_is_said_and_leaves_nothing(
    loader: Loader, source: FakeSource, base: BaseManifest, tmp_path: Path
) -> None:
    ref = publish(source, base)

    class FullDisk(FakeSource):
        def fetch(self, file: object, to: Path) -> None:
            to.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(to))

    full = FullDisk()
    full.manifests = source.manifests
    with pytest.raises(AdapterFailed, match="its disk is full") as error:
        SlabLoader(full, SlabCache(tmp_path / "adapters", 1), base, Form()).load(ref)
    assert str(tmp_path) not in error.value.message
    assert list((tmp_path / "adapters").iterdir()) == []
