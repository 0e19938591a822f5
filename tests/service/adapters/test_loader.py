"""From digest to adapter: what is fetched is checked, what is on disk needs no registry."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapters_registry.manifest import BaseManifest, stored_manifest
from service.adapters import cache
from service.adapters.cache import SlabCache
from service.adapters.loader import SlabLoader
from service.adapters.slab import SlabLabel
from service.errors import AdapterFailed, AdapterIncompatible, ModelNotFound
from service.values import AdapterRef
from tests.adapters_registry.faults.shim import Faults, build
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
    newer = stored_manifest(text)
    source.manifests[newer.digest] = newer
    assert newer.digest != ref.digest
    assert loader.load(replace(ref, digest=newer.digest)).nbytes


def test_a_manifest_of_a_newer_format_is_not_applied(loader: Loader, source: FakeSource, base: BaseManifest) -> None:
    ref = publish(source, base)
    text = source.manifests[ref.digest].canonical_json().decode().replace('"format":2', '"format":3')
    newer = stored_manifest(text)
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


def full_from(monkeypatch: pytest.MonkeyPatch, root: Path, capacity: int) -> None:
    """The disk of ``root`` holds ``capacity`` bytes of slabs."""
    write = cache.write_slab

    def bounded(path: Path, label: SlabLabel, tensors: Mapping[str, Tensor]) -> None:
        new = sum(tensor.nbytes for tensor in tensors.values())
        if sum(slab.stat().st_size for slab in root.glob("*.slab")) + new > capacity:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, label, tensors)

    monkeypatch.setattr(cache, "write_slab", bounded)


def slab_bytes(root: Path) -> list[int]:
    return [path.stat().st_size for path in root.glob("*.slab")]


def test_idle_slabs_make_room_on_a_full_disk(
    loader: Loader, source: FakeSource, base: BaseManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader.load(publish(source, base))
    [size] = slab_bytes(tmp_path / "adapters")
    full_from(monkeypatch, tmp_path / "adapters", 2 * size)
    for seed in range(1, 8):
        assert loader.load(publish(source, base, seed=seed)).nbytes == size
        assert len(slab_bytes(tmp_path / "adapters")) <= 2


@pytest.mark.parametrize("in_use", [False, True])
def test_an_adapter_is_served_from_memory_where_no_room_can_be_made(
    loader: Loader,
    source: FakeSource,
    base: BaseManifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    in_use: bool,
) -> None:
    kept = loader.load(publish(source, base)) if in_use else None
    full_from(monkeypatch, tmp_path / "adapters", sum(slab_bytes(tmp_path / "adapters")))
    ref = publish(source, base, seed=2)
    loaded = loader.load(ref)
    wanted = lora_tensors(lora(), base, seed=2)
    assert torch.equal(loaded.adapter[f"{SITE}/a_t"], wanted[f"{SITE}.lora_A.weight"].t())
    assert loaded.fetch_s
    assert len(slab_bytes(tmp_path / "adapters")) == in_use, "what is in use stays"
    assert caplog.records[-1].reason == "its disk is full"  # type: ignore[attr-defined]
    assert kept is None or kept.nbytes == loaded.nbytes
    assert loader.load(ref).nbytes == loaded.nbytes


def test_a_slab_that_cannot_be_read_is_fetched_again(
    loader: Loader, source: FakeSource, base: BaseManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = publish(source, base)
    loader.load(ref)

    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(cache, "read_slab", broken)
    assert loader.load(ref).nbytes
    assert source.calls == ["manifest", "fetch"] * 2


def test_whatever_file_operation_fails_the_adapter_is_served(
    source: FakeSource, base: BaseManifest, tmp_path: Path
) -> None:
    """Each in turn, by a disk that is full at that moment only."""
    (tmp_path / "cache").mkdir()
    faults = Faults(build(tmp_path), tmp_path / "control", tmp_path / "cache")
    command = [sys.executable, "-m", "tests.service.adapters.full_disk", str(tmp_path / "cache")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | faults.environment
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def load(seed: int) -> str:
            child.stdin.write(f"{seed}\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return child.stdout.readline()  # type: ignore[union-attr]

        assert load(0) == "right\n"
        call, calls = 0, 1
        while call < calls:
            call += 1
            faults.set(errno.ENOSPC, call, call)
            assert load(call) == "right\n", f"call {call} failed"
            calls = faults.clear()
        assert call > 3, "the shim sees the cache"
        child.stdin.close()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"kind":"lora"', '"kind":"ia3"', "ia3"),
        ('"tensors":{', '"tensors":{"magnitude":"m",', "lora.magnitude"),
        ('"rank":4}', '"rank":4,"needs":["scores"]}', "scores"),
    ],
)
def test_what_the_engine_does_not_compute_is_refused_before_its_weights_are_fetched(
    loader: Loader, source: FakeSource, base: BaseManifest, old: str, new: str, named: str
) -> None:
    ref = publish(source, base)
    text = source.manifests[ref.digest].canonical_json().decode()
    assert old in text
    other = stored_manifest(text.replace(old, new, 1))
    source.manifests[other.digest] = other
    with pytest.raises(AdapterIncompatible, match=named):
        loader.load(replace(ref, digest=other.digest))
    assert source.calls == ["manifest"]
