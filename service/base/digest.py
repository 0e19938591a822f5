"""The base's identity: sha256 over its weights, config essentials, tokenizer and chat template.

The hashed stream is a sequence of framed parts, so that different bases have different streams::

    quickchange-base-1
    tensor     {"dtype","name","shape"}   bytes       one each, sorted by name over all shards
    config     canonical JSON of config.json
    <file>     canonical JSON, or the raw bytes       each tokenizer file and chat template that exists

Every part is: length of its label, label, length of its bytes, bytes (lengths as 8 bytes, big endian).
The digest does not depend on how weights are split into shards, on JSON spacing, or on keys that name the writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from adapters_registry.support.durable import write_whole
from service.base.checkpoint import CHAT_TEMPLATES, TOKENIZER_FILES, weight_files
from service.errors import BaseUnavailable

_CHUNK = 4 << 20
_HEADER_LIMIT = 100 << 20  # safetensors' own
_WRITER_KEYS = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "name_or_path",
        "transformers_version",
        "is_local",
        "local_files_only",
        "backend",
    }
)


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    """Offset in the file, in bytes."""
    size: int


def base_digest(path: Path, cache_dir: Path | None = None) -> str:
    """``sha256:`` and 64 hex digits for the checkpoint at ``path``; reads one chunk at a time.

    With ``cache_dir`` the result is stored there by the files' names, sizes and mtimes, for a fast restart.
    """
    if cache_dir is None:
        return _compute(path)
    stamp = _stamp(path)
    note = cache_dir / "digests" / f"{hashlib.sha256(json.dumps(stamp).encode()).hexdigest()}.txt"
    if note.is_file():
        return note.read_text(encoding="ascii")
    digest = _compute(path)
    # If a file changed while it was read, a wrong digest must not be stored.
    if _stamp(path) == stamp:
        write_whole(note, [digest.encode()])
    return digest


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    files = [*weight_files(path), *_text_files(path)]
    stats = [(file, file.stat()) for file in files]
    return [(str(file.resolve()), stat.st_size, stat.st_mtime_ns) for file, stat in stats]


def _text_files(path: Path) -> list[Path]:
    names = ["config.json", *TOKENIZER_FILES, *CHAT_TEMPLATES]
    return [path / name for name in names if (path / name).is_file()]


def _compute(path: Path) -> str:
    total = hashlib.sha256(b"quickchange-base-1\n")
    tensors = sorted((t for file in weight_files(path) for t in _tensors(file)), key=lambda t: t.name)
    for tensor in tensors:
        label = json.dumps({"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}, sort_keys=True)
        _frame(total, b"tensor " + label.encode(), tensor.size)
        for chunk in _bytes(tensor):
            total.update(chunk)
    for file in _text_files(path):
        content = _canonical(file)
        _frame(total, file.name.encode(), len(content))
        total.update(content)
    return f"sha256:{total.hexdigest()}"


def _frame(total: Any, label: bytes, size: int) -> None:
    total.update(len(label).to_bytes(8, "big") + label + size.to_bytes(8, "big"))


def _canonical(file: Path) -> bytes:
    if file.suffix != ".json":
        return file.read_bytes()
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise BaseUnavailable(f"{file} is not JSON ({error}); fetch the checkpoint again.") from error
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in _WRITER_KEYS}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _tensors(file: Path) -> list[_Tensor]:
    with file.open("rb") as source:
        header, body = _header(file, source)
    return [
        _Tensor(
            name, entry["dtype"], tuple(entry["shape"]), file, body + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    ]  # fmt: skip


def _header(file: Path, source: BinaryIO) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(source.read(8), "little")
    if size > _HEADER_LIMIT:
        raise BaseUnavailable(f"{file} is not a safetensors file; fetch the checkpoint again.")
    try:
        return json.loads(source.read(size)), 8 + size
    except ValueError as error:
        raise BaseUnavailable(f"{file} is not a safetensors file; fetch the checkpoint again.") from error


def _bytes(tensor: _Tensor) -> Iterator[bytes]:
    with tensor.file.open("rb") as source:
        source.seek(tensor.start)
        left = tensor.size
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                raise BaseUnavailable(f"{tensor.file} is cut short; fetch the checkpoint again.")
            left -= len(chunk)
            yield chunk
