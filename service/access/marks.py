"""Where it is kept that a service's registry ever had API keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters_registry.mark import KeyMark
from service.settings import Settings


def registry_name(settings: Settings) -> str:
    """Tells the registry of ``settings`` from all others."""
    return settings.registry_url or f"embedded:{settings.data_dir.resolve()}"


def mark_dir(settings: Settings) -> Path:
    """The mark's place in the cache directory, where the loss of ``data_dir`` does not reach it."""
    return settings.cache_dir / "keyed" / hashlib.sha256(registry_name(settings).encode()).hexdigest()[:16]


def forget_keys(settings: Settings) -> None:
    """What this service's gateway remembers of keys; an embedded registry's own mark goes with it.

    The snapshots hold keys too. Which of them are of this registry their names do not say; a gateway that runs
    writes its own again.
    """
    key_mark(settings).remove()
    for snapshot in (settings.cache_dir / "catalog").glob("*.json"):
        snapshot.unlink(missing_ok=True)


def key_mark(settings: Settings) -> KeyMark:
    """The mark as the gateway reads and sets it; an embedded registry's own is the same."""
    others = [] if settings.registry_url is not None else [settings.data_dir]
    return KeyMark(mark_dir(settings), *others)
