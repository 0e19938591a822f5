"""Location of the mark that a service's registry has had API keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters_registry.mark import KeyMark
from service.settings import Settings


def registry_name(settings: Settings) -> str:
    """A name that distinguishes the registry of ``settings`` from all others."""
    return settings.registry_url or f"embedded:{settings.data_dir.resolve()}"


def mark_dir(settings: Settings) -> Path:
    """The mark's directory, in the cache directory, so that it outlasts the loss of ``data_dir``."""
    return settings.cache_dir / "keyed" / hashlib.sha256(registry_name(settings).encode()).hexdigest()[:16]


def forget_keys(settings: Settings) -> None:
    """Deletes what this service's gateway has stored of keys, and the mark of an embedded registry.

    The catalog files contain keys too. Their names do not show the registry, so all are deleted; a running gateway
    writes its own again.
    """
    key_mark(settings).remove()
    for snapshot in (settings.cache_dir / "catalog").glob("*.json"):
        snapshot.unlink(missing_ok=True)


def key_mark(settings: Settings) -> KeyMark:
    """The mark that the gateway reads and sets; an embedded registry uses the same one."""
    others = [] if settings.registry_url is not None else [settings.data_dir]
    return KeyMark(mark_dir(settings), *others)
