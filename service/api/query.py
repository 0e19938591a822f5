"""Query parameters of several routes."""

from __future__ import annotations

from service.errors import InvalidValue


def page_size(text: str | None, usual: int, most: int) -> int:
    """``limit``; ``usual`` if it is absent. Raises ``InvalidValue``."""
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidValue(f"limit: must be a number from 1 to {most}", param="limit")
    return int(text)
