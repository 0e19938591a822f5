"""One base, one digest: what changes it, and what does not."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

from service.base import base_digest
from service.base.digest import _CHUNK
from service.errors import BaseUnavailable
from tests.service.base.checkpoints import checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "base")


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}, indent=7))


def test_shards_spacing_and_writer_do_not_matter(path: Path, tmp_path: Path) -> None:
    digest = base_digest(path)
    assert digest == base_digest(checkpoint(tmp_path / "shards", shard_size="5KB"))
    edit_json(path / "config.json", transformers_version="0", _name_or_path="/elsewhere")
    assert digest == base_digest(path)


def test_every_part_matters(path: Path) -> None:
    seen = {base_digest(path)}
    weights = path / "model.safetensors"
    name = "model.layers.0.mlp.up_proj.weight"

    def one_element_changed() -> None:
        tensors = load_file(weights)
        tensors[name][0, 0] += 1
        save_file(tensors, weights, metadata={"format": "pt"})

    def same_bytes_in_another_shape() -> None:
        tensors = load_file(weights)
        tensors[name] = tensors[name].reshape(16, 24)
        save_file(tensors, weights, metadata={"format": "pt"})

    changes = [
        one_element_changed,
        same_bytes_in_another_shape,
        lambda: edit_json(path / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 5.0}),
        lambda: edit_json(path / "tokenizer.json", truncation={"max_length": 3}),
        lambda: (path / "chat_template.jinja").write_text("{{ other }}"),
        lambda: (path / "chat_template.jinja").unlink(),
    ]
    for change in changes:
        change()
        seen.add(base_digest(path))
    assert len(seen) == 1 + len(changes)


def test_kept_until_a_file_changes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = base_digest(path, cache)
    monkeypatch.setattr("service.base.digest._compute", lambda _: pytest.fail("computed again"))
    assert base_digest(path, cache) == first
    monkeypatch.undo()
    stat = (path / "config.json").stat()
    edit_json(path / "config.json", rms_norm_eps=0.5)
    os.utime(path / "config.json", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert base_digest(path, cache) == base_digest(path) != first


def test_memory_stays_at_a_chunk(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    save_file({"big": torch.zeros(8 * _CHUNK // 4)}, path / "model.safetensors")
    tracemalloc.start()
    try:
        base_digest(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * _CHUNK
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, (9).to_bytes(8, "little") + b"not json!"])
def test_weights_that_cannot_be_read(path: Path, data: bytes) -> None:
    (path / "model.safetensors").write_bytes(data)
    with pytest.raises(BaseUnavailable, match="safetensors"):
        base_digest(path)


def test_a_cut_file(path: Path) -> None:
    data = safetensors.torch.save({"a": torch.zeros(100)})
    (path / "model.safetensors").write_bytes(data[:-8])
    with pytest.raises(BaseUnavailable, match="cut short"):
        base_digest(path)
