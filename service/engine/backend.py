"""The protocol of what computes an engine's steps: ``torch_backend``, ``native_backend``, and backends of tests."""

from __future__ import annotations

from typing import Protocol

import torch

from adapters_registry.capabilities import in_words, needs
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.model import Sites
from service.engine.runner import LogitsRunner, Runner


class Backend(Protocol):
    """One way to compute a base: runs plans, and reports which adapters it supports."""

    @property
    def name(self) -> str:
        """How the base's rows are computed, for logs, metrics and refusals."""

    @property
    def runner(self) -> Runner: ...

    @property
    def sites(self) -> Sites:
        """The sites of adapters."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the adapters' weights."""

    @property
    def device(self) -> torch.device:
        """The device of the adapters' weights."""

    @property
    def blocks(self) -> int:
        """Number of KV blocks of the runner; the last one is for trials of adapters."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Supported capabilities (names of ``adapters_registry.capabilities``)."""

    def supports(self, manifest: Manifest) -> str | None:
        """The reason why adapters with this manifest cannot run, as a clause; None if they can."""

    def place(self, adapter: BoundAdapter) -> BoundAdapter:
        """The adapter in the runner's form. Raises ``AdapterIncompatible`` if the runner cannot execute it."""


class BaseBackend(Backend, Protocol):
    """A backend over a real base, with access to logits."""

    @property
    def runner(self) -> LogitsRunner: ...


def missing(manifest: Manifest, backend: Backend) -> str | None:
    """``Backend.supports``, decided by capabilities only."""
    lacking = needs(manifest) - backend.capabilities
    if not lacking:
        return None
    return f"it needs {in_words(lacking)}, which the backend of this engine ({backend.name}) does not compute"
