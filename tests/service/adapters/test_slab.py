"""The slab file: exact, aligned, and never read when one bit of it is wrong."""

from __future__ import annotations

import gc
import weakref
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters import slab as slab_module
from service.adapters.slab import CorruptSlab, SlabLabel, read_slab, write_slab

LABEL = SlabLabel("sha256:" + "a" * 64, "lora1-float32", "lora", "sha256:" + "b" * 64)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, 9), st.integers(1, 17)), max_size=6))
def test_every_bit_comes_back(tmp_path_factory: pytest.TempPathFactory, shapes: list) -> None:
    path = tmp_path_factory.mktemp("slab") / "x.slab"
    tensors = {f"t{i}/é": torch.randn(rows, columns).to(dtype) for i, (dtype, rows, columns) in enumerate(shapes)}

    write_slab(path, LABEL, tensors)
    slab = read_slab(path)

    assert slab.label == LABEL
    assert list(slab.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert slab.tensors[name].dtype == tensor.dtype
        assert torch.equal(slab.tensors[name], tensor)


def test_tensors_are_aligned_views_of_one_buffer(tmp_path: Path) -> None:
    write_slab(tmp_path / "x.slab", LABEL, {"a": torch.randn(3, 5), "b": torch.randn(7), "c": torch.randn(2, 2)})
    slab = read_slab(tmp_path / "x.slab")

    assert slab.nbytes == (tmp_path / "x.slab").stat().st_size
    addresses = [tensor.data_ptr() for tensor in slab.tensors.values()]
    assert all(address % 64 == 0 for address in addresses)
    assert max(addresses) - min(addresses) < slab.nbytes


def test_the_buffer_goes_with_its_last_view(tmp_path: Path) -> None:
    write_slab(tmp_path / "x.slab", LABEL, {"a": torch.randn(3, 5), "b": torch.randn(7)})
    slab = read_slab(tmp_path / "x.slab")
    buffer, view = weakref.ref(slab.buffer), slab.tensors["b"]
    del slab
    gc.collect()
    assert buffer() is not None
    del view
    gc.collect()
    assert buffer() is None


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.slab"
    write_slab(path, LABEL, {"a": torch.randn(3, 5)})
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CorruptSlab):
            read_slab(path)


@pytest.mark.parametrize("size", [0, 8, 48, 200])
def test_a_cut_file_is_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.slab"
    write_slab(path, LABEL, {"a": torch.randn(30, 5)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptSlab):
        read_slab(path)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.slab").mkdir()  # the rename onto it fails
    with pytest.raises(OSError, match="directory"):
        write_slab(tmp_path / "x.slab", LABEL, {"a": torch.randn(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.slab"]


def test_what_another_release_writes_in_the_header_besides_is_ignored(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.slab"
    monkeypatch.setattr(slab_module, "asdict", lambda label: {**asdict(label), "newer": {"bits": 4}})
    write_slab(path, LABEL, {"a": torch.ones(3)})
    assert read_slab(path).label == LABEL

    monkeypatch.setattr(slab_module, "asdict", lambda label: {"digest": label.digest})
    write_slab(path, LABEL, {"a": torch.ones(3)})
    with pytest.raises(CorruptSlab, match="no 'layout'"):
        read_slab(path)
