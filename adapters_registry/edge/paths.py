"""The canonical form of a path: clients often join base URLs and paths with a slash too many."""

from __future__ import annotations

import re

_SLASHES = re.compile("/{2,}")


def canonical(path: str) -> str:
    """``path`` without double and trailing slashes. A redirect instead would lose the body of a POST."""
    return _SLASHES.sub("/", f"/{path}").rstrip("/") or "/"
