"""What an alias may be called."""

from __future__ import annotations

import re

from adapters_registry.errors import InvalidValue
from adapters_registry.manifest import NAME_PATTERN

PRODUCTION = "production"


def check_alias(alias: str) -> str:
    """``alias`` itself; ``InvalidValue`` if it could be taken for a version number or a digest."""
    if not re.fullmatch(NAME_PATTERN.strip("^$"), alias) or alias.isdigit() or alias.startswith("sha256"):
        raise InvalidValue(
            f"Alias {alias!r}: use lower-case letters, digits, '.', '_' and '-' (at most 63), beginning with a "
            "letter or digit; not digits alone, and not beginning with 'sha256'.",
            param="alias",
        )
    return alias
