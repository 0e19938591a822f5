"""The grammar of names: ``[tenant/]adapter[@selector]``; a selector is a version number, a digest or an alias.

No text is two of the three: an alias is neither all digits nor begins with ``sha256``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from adapters_registry.errors import InvalidValue
from adapters_registry.manifest import DIGEST_PATTERN, NAME_PATTERN

PRODUCTION = "production"
"""The alias that a name without a selector means."""

_NAME, _DIGEST, _VERSION = (re.compile(pattern) for pattern in (NAME_PATTERN, DIGEST_PATTERN, "[1-9][0-9]{0,8}"))


class Named(NamedTuple):
    """An adapter's name, taken apart."""

    tenant: str | None
    """None where none is given."""
    name: str
    selector: str | None
    """What stands behind the ``@``, unchecked; None without one."""


def take_apart(text: str) -> Named | None:
    """None where ``text`` is no name of an adapter."""
    path, at, selector = text.partition("@")
    tenant, slash, name = path.rpartition("/")
    if (slash and not is_name(tenant)) or not is_name(name):
        return None
    return Named(tenant if slash else None, name, selector if at else None)


def is_name(text: str) -> bool:
    """Of a tenant or an adapter."""
    return _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """The number of a version."""
    return _VERSION.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    return is_name(text) and not text.isdigit() and not text.startswith("sha256")


def check_alias(alias: str) -> str:
    """``alias`` itself; ``InvalidValue`` if it could be taken for a version number or a digest."""
    if not is_alias(alias):
        raise InvalidValue(
            f"Alias {alias!r}: use lower-case letters, digits, '.', '_' and '-' (at most 63), beginning with a "
            "letter or digit; not digits alone, and not beginning with 'sha256'.",
            param="alias",
        )
    return alias
