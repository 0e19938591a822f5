"""The few stand-ins that tests use at the seams: a clock turned by hand, a source of adapter files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from threading import Event

import safetensors.torch
from torch import Tensor

from adapters_registry.manifest import File, LoraManifest, LoraModule, Manifest
from service.errors import ModelNotFound, QuickchangeError
from service.values import AdapterRef


class FakeClock:
    """Time that stands until ``advance``."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for at, future in self._sleepers:
            if at <= self._now and not future.done():
                future.set_result(None)


class FakeSource:
    """Adapter versions in memory, counted and broken at will. Methods run in loader threads."""

    def __init__(self) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        """``manifest`` or ``fetch``, in order."""
        self.error: QuickchangeError | None = None
        """Raised by every call, while set."""
        self.gate = Event()
        """Cleared, it holds every fetch."""
        self.gate.set()

    def publish(
        self, modules: tuple[LoraModule, ...], tensors: Mapping[str, Tensor], base: str, name: str = "support"
    ) -> AdapterRef:
        """A version whose weights are ``tensors``, as its ref."""
        data = safetensors.torch.save(dict(tensors))
        file = File(
            path="adapter_model.safetensors", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data)
        )
        rank = max((module.rank for module in modules), default=0)
        manifest = LoraManifest(base=base, rank=rank, dtype="float32", files=(file,), modules=modules)
        self.manifests[manifest.digest] = manifest
        self.files[file.digest] = data
        return AdapterRef("acme", name, 1, manifest.digest)

    def manifest(self, digest: str) -> Manifest:
        self._called("manifest")
        if digest not in self.manifests:
            raise ModelNotFound(f"no {digest}")
        return self.manifests[digest]

    def fetch(self, file: File) -> bytes:
        self._called("fetch")
        assert self.gate.wait(30)
        return self.files[file.digest]

    def _called(self, verb: str) -> None:
        self.calls.append(verb)
        if self.error is not None:
            raise self.error
