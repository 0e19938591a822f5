"""From a version's digest to an adapter ready to run: the slab on disk, or fetch, check, write the slab."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from adapters_registry.manifest import FORMAT, BaseManifest, Manifest
from service.adapters.cache import SlabCache
from service.adapters.slab import Slab, SlabLabel
from service.adapters.source import AdapterSource
from service.adapters.weights import WEIGHTS_FILE, read_weights
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
    """What reading it from its slab took: the price of evicting it."""
    fetch_s: float | None = None
    """What fetching and checking it and writing its slab took; None where the slab was there."""


class Loader(Protocol[T_co]):
    """Blocking; the store calls it in threads of its own."""

    def load(self, ref: AdapterRef) -> Loaded[T_co]:
        """Raises ``AdapterFailed`` (may be retried), ``AdapterIncompatible`` or ``ModelNotFound``."""


class AdapterForm(Protocol[T_co]):
    """What a loader needs of the engine that will run its adapters (``service.engine.engine.Engine``)."""

    @property
    def layout(self) -> str:
        """Names the canonical form; part of the slab's name."""

    def canonicalise(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raw artifact tensors to the canonical form."""

    def bind(self, digest: str, kind: str, tensors: Mapping[str, Tensor]) -> T_co:
        """Canonical tensors to what a batch row points at; they are not copied."""


class SlabLoader(Generic[T]):
    """Loads from the slab where there is one, without a call to the registry."""

    def __init__(self, source: AdapterSource, slabs: SlabCache, base: BaseManifest, engine: AdapterForm[T]) -> None:
        self._source = source
        self._slabs = slabs
        self._base = base
        self._engine = engine

    def load(self, ref: AdapterRef) -> Loaded[T]:
        try:
            return self._read(ref) or self._fetch(ref)
        except OSError as error:
            log.exception("adapter cache cannot be used", extra={"adapter": str(ref), "digest": ref.digest})
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "its disk is full" if full else (error.strerror or type(error).__name__)
            raise AdapterFailed(f"adapter {ref.digest} could not be loaded: the adapter cache: {reason}") from error

    def _read(self, ref: AdapterRef) -> Loaded[T] | None:
        began = time.perf_counter()
        slab = self._slabs.read(ref.digest, self._engine.layout)
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
        with self._slabs.scratch() as directory:
            self._write(manifest, directory)
        fetch_s = time.perf_counter() - began
        loaded = self._read(ref)
        if loaded is None:
            raise AdapterFailed(
                f"the slab of {ref.digest} did not read back as it was written; its disk may be failing"
            )
        return replace(loaded, fetch_s=fetch_s)

    def _write(self, manifest: Manifest, directory: Path) -> None:
        path = directory / WEIGHTS_FILE
        for file in manifest.files:
            if file.path == WEIGHTS_FILE:
                self._source.fetch(file, path)
        tensors = self._engine.canonicalise(manifest, read_weights(path, manifest, self._base))
        label = SlabLabel(manifest.digest, self._engine.layout, manifest.kind, manifest.base)
        self._slabs.write(label, tensors)

    def _check_base(self, ref: AdapterRef, base: str) -> None:
        if base != self._base.digest:
            raise AdapterIncompatible(
                f"adapter {ref.digest} was made for base {base}, and this service serves {self._base.name} "
                f"({self._base.digest}): push a version trained on the served base"
            )
