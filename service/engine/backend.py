"""The seam between an engine and what computes its steps: ``torch_backend``, ``native_backend``, tests' own."""

from __future__ import annotations

from typing import Protocol

import torch

from adapters_registry.capabilities import in_words, needs
from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.model import Sites
from service.engine.runner import LogitsRunner, Runner


class Backend(Protocol):
    """One way to compute a base: it runs plans, and says which adapters it can run them under."""

    @property
    def name(self) -> str:
        """How the base's rows are computed, in words: for logs, metrics and refusals."""

    @property
    def runner(self) -> Runner: ...

    @property
    def sites(self) -> Sites:
        """Where adapters can act."""

    @property
    def dtype(self) -> torch.dtype:
        """What adapters are held in."""

    @property
    def device(self) -> torch.device:
        """Where adapters are held."""

    @property
    def blocks(self) -> int:
        """KV blocks of the runner; the last one is for trials of adapters."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What adapters may need (names of ``adapters_registry.capabilities``)."""

    def supports(self, manifest: Manifest) -> str | None:
        """Why adapters with this manifest cannot run here, as a clause; None if they can."""

    def place(self, adapter: BoundAdapter) -> BoundAdapter:
        """The adapter in the form that the runner reads; ``AdapterIncompatible`` for what it would not execute."""


class BaseBackend(Backend, Protocol):
    """A backend over a real base, whose logits can be looked at."""

    @property
    def runner(self) -> LogitsRunner: ...


def missing(manifest: Manifest, backend: Backend) -> str | None:
    """``Backend.supports`` by names alone."""
    lacking = needs(manifest) - backend.capabilities
    if not lacking:
        return None
    return f"it needs {in_words(lacking)}, which the backend of this engine ({backend.name}) does not compute"
