"""Resolves the ``base`` setting (bundled, a directory, or a Hub id) to a local checkpoint directory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.base.bundled import Progress, prepare_bundled
from service.base.checkpoint import check_checkpoint
from service.base.hub import fetch_from_hub
from service.errors import BaseUnavailable
from service.settings import BUNDLED_BASE, Settings

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class PreparedBase:
    """A local checkpoint that can be served: safetensors, config, tokenizer."""

    path: Path
    name: str
    """The base's model id in the API."""


def prepare_base(
    settings: Settings, report: Callable[[str], None], progress: Progress = lambda done, total: None
) -> PreparedBase:
    """Find, fetch or convert the base; ``report`` gets a line for people at each slow step.

    ``progress`` is called only during a conversion. Two processes may run this at once. Raises ``BaseUnavailable``
    with the remedy.
    """
    path = _locate(settings, report, progress)
    check_checkpoint(path)
    return PreparedBase(path, served_name(settings, path))


def served_name(settings: Settings, path: Path) -> str:
    """``base_name`` if given; otherwise the bundled or Hub name, or the directory's name."""
    if settings.base_name:
        return settings.base_name
    if settings.base == BUNDLED_BASE or _local(settings.base) is None:
        return settings.base
    return path.name


def _locate(settings: Settings, report: Callable[[str], None], progress: Progress) -> Path:
    if settings.base == BUNDLED_BASE:
        return prepare_bundled(settings.cache_dir, report, progress)
    local = _local(settings.base)
    if local is not None:
        return local
    if not _HUB_ID.fullmatch(settings.base):
        raise BaseUnavailable(f"--base {settings.base}: there is no such directory.")
    return fetch_from_hub(settings.base, settings.cache_dir, report)


def _local(base: str) -> Path | None:
    path = Path(base).expanduser()
    return path.resolve() if path.is_dir() else None
