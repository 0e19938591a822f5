"""One bad artifact: how it is made, and the refusal that must answer it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters_registry.folder import CONFIG, WEIGHTS
from adapters_registry.manifest import BaseManifest, BaseModule
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts

MIB = 1 << 20
WIDE = "model.layers.0.mlp.wide_proj"
WIDE_OUTPUTS = 1 << 21
A0, B0, A1, B1 = (
    artifacts.key(module, f"lora_{which}.weight") for module in (artifacts.Q0, artifacts.Q1) for which in "AB"
)
"""The tensors of ``artifacts.tensors()``."""
LIMITS = Limits(rank=8, upload_bytes=80 * MIB, staging_bytes=160 * MIB, match_s=0.4)


@dataclass(frozen=True, slots=True)
class Sparse:
    """A file of zeros behind ``head``, which takes no room here or on the disk."""

    head: bytes
    size: int


Bytes = bytes | Sparse
Files = tuple[tuple[str, Bytes], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A bad artifact."""

    what: str
    """As the conformance table says it; also the test's id."""
    code: str
    param: str | None
    make: Callable[[], Files]

    def write(self, directory: Path) -> Iterator[tuple[str, Path]]:
        """Each file's claimed path and where it was written, under a name of ours."""
        directory.mkdir(parents=True)
        for number, (claimed, content) in enumerate(self.make()):
            path = directory / str(number)
            if isinstance(content, Sparse):
                with path.open("wb") as file:
                    file.write(content.head)
                    file.truncate(content.size)
            else:
                path.write_bytes(content)
            yield claimed, path


def base() -> BaseManifest:
    """``artifacts.base()`` with a module whose matrices are large at a small rank."""
    small = artifacts.base()
    wide = BaseModule(type="linear", in_features=1, out_features=WIDE_OUTPUTS, bias=False)
    return small.model_copy(update={"modules": small.modules | {WIDE: wide}})


def folder(config: bytes | None = None, weights: Bytes | None = None) -> Files:
    """A good adapter, but for what is given."""
    return (
        (CONFIG, config_bytes() if config is None else config),
        (WEIGHTS, artifacts.pack(artifacts.tensors()) if weights is None else weights),
    )


def config_bytes(**changes: Any) -> bytes:
    return json.dumps(artifacts.config(**changes)).encode()


def container(header: bytes | dict[str, Any], data: Bytes = b"", length: int | None = None) -> Bytes:
    """A safetensors file with this header, whose length field may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = (len(text) if length is None else length).to_bytes(8, "little") + text
    if isinstance(data, Sparse):
        return Sparse(start + data.head, len(start) + data.size)
    return start + data


def arrays(changes: dict[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    """``artifacts.tensors()`` with some replaced, added, or (None) left out."""
    changed = artifacts.tensors() | {name: array for name, array in changes.items() if array is not None}
    return {name: array for name, array in changed.items() if changes.get(name, array) is not None}
