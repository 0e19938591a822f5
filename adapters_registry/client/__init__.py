"""The registry's Python client: ``RegistryClient`` for operators and loaders, ``AsyncRegistryClient`` to follow it.

Both raise ``RegistryError``: ``RegistryUnavailable`` if nothing answers, otherwise the error that the registry named.
Errors of the caller's own disk pass through as ``OSError``.
"""

from __future__ import annotations

from adapters_registry.client.adapters import AdapterCalls
from adapters_registry.client.files import FileCalls, Progress, Pushed, UploadState
from adapters_registry.client.following import AsyncRegistryClient
from adapters_registry.client.operations import OperationCalls

__all__ = ["AsyncRegistryClient", "Progress", "Pushed", "RegistryClient", "UploadState"]


class RegistryClient(AdapterCalls, FileCalls, OperationCalls):
    """A method per verb. Blocking and thread-safe."""
