"""Loads an adapter version by its digest: from its slab on disk, or fetched, checked, and written to a slab."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from adapters_registry.manifest import FORMAT, BaseManifest, Manifest
from adapters_registry.support.durable import FULL
from service.adapters.cache import SlabCache
from service.adapters.slab import Slab, SlabLabel, slab_in_memory
from service.adapters.source import AdapterSource
from service.adapters.weights import read_weights, weights_file
from service.errors import AdapterFailed, AdapterIncompatible
from service.values import AdapterRef

log = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[T_co]):
    """An adapter in memory."""

    adapter: T_co
    nbytes: int
    reload_s: float
    """Time to read it from its slab, which is the cost of evicting it."""
    fetch_s: float | None = None
    """Time to fetch and check it and to write its slab; None if the slab existed."""


class Loader(Protocol[T_co]):
    """Blocking; the store calls it on its own threads."""

    def load(self, ref: AdapterRef) -> Loaded[T_co]:
        """Raises ``AdapterFailed`` (may be retried), ``AdapterIncompatible`` or ``ModelNotFound``."""


class AdapterForm(Protocol[T_co]):
    """The part of the engine that a loader uses (``service.engine.engine.Engine``)."""

    @property
    def layout(self) -> str:
        """Name of the canonical form; part of the slab's name."""

    def check_adapter(self, manifest: Manifest) -> None:
        """Raises ``AdapterIncompatible`` for an adapter that this engine would not compute exactly."""

    def canonicalise(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Converts the artifact's tensors to the canonical form."""

    def bind(self, digest: str, kind: str, tensors: Mapping[str, Tensor]) -> T_co:
        """An adapter over the canonical tensors, which are not copied."""


class SlabLoader(Generic[T]):
    """If there is a slab, loads it without a call to the registry."""

    def __init__(self, source: AdapterSource, slabs: SlabCache, base: BaseManifest, engine: AdapterForm[T]) -> None:
        self._source = source
        self._slabs = slabs
        self._base = base
        self._engine = engine

    def load(self, ref: AdapterRef) -> Loaded[T]:
        return self._read(ref) or self._fetch(ref)

    def _read(self, ref: AdapterRef) -> Loaded[T] | None:
        began = time.perf_counter()
        try:
            slab = self._slabs.read(ref.digest, self._engine.layout)
        except OSError as error:
            log.error("slab cannot be read: the adapter is fetched", extra=_log_fields(ref, error), exc_info=error)
            return None
        if slab is None:
            return None
        self._check_base(ref, slab.label.base)
        return self._bind(slab, began)

    def _bind(self, slab: Slab, began: float) -> Loaded[T]:
        adapter = self._engine.bind(slab.label.digest, slab.label.kind, slab.tensors)
        return Loaded(adapter, slab.nbytes, time.perf_counter() - began)

    def _fetch(self, ref: AdapterRef) -> Loaded[T]:
        began = time.perf_counter()
        manifest = self._source.manifest(ref.digest)
        if manifest.digest != ref.digest:
            raise AdapterFailed(f"the registry answered with another manifest than that of {ref.digest}")
        if manifest.format > FORMAT:
            raise AdapterIncompatible(
                f"adapter {ref.digest} has a manifest of format {manifest.format}, and this release applies formats "
                f"up to {FORMAT}: upgrade the service"
            )
        self._check_base(ref, manifest.base)
        self._engine.check_adapter(manifest)
        data = self._source.fetch(weights_file(manifest))
        tensors = self._engine.canonicalise(manifest, read_weights(data, manifest, self._base))
        del data
        label = SlabLabel(manifest.digest, self._engine.layout, manifest.kind, manifest.base)
        kept = self._keep(ref, label, tensors)
        fetch_s = time.perf_counter() - began
        loaded = self._read(ref) if kept else None
        if loaded is None:
            loaded = self._bind(slab_in_memory(label, tensors), time.perf_counter())
        return replace(loaded, fetch_s=fetch_s)

    def _keep(self, ref: AdapterRef, label: SlabLabel, tensors: Mapping[str, Tensor]) -> bool:
        """Writes the slab; returns whether it is on disk. If not, the adapter is served from memory."""
        try:
            self._slabs.write(label, tensors)
        except OSError as error:
            log.error(
                "slab cannot be written: the adapter is served from memory, and fetched again after an eviction",
                extra=_log_fields(ref, error),
                exc_info=error,
            )
            return False
        return True

    def _check_base(self, ref: AdapterRef, base: str) -> None:
        if base != self._base.digest:
            raise AdapterIncompatible(
                f"adapter {ref.digest} was made for base {base}, and this service serves {self._base.name} "
                f"({self._base.digest}): push a version trained on the served base"
            )


def _log_fields(ref: AdapterRef, error: OSError) -> dict[str, object]:
    reason = "its disk is full" if error.errno in FULL else (error.strerror or type(error).__name__)
    return {"adapter": str(ref), "digest": ref.digest, "reason": reason}
