"""The grammar of names: ``[tenant/]adapter[@selector]``; a selector is a version number, a digest or an alias.

The three forms are disjoint: an alias is not all digits and does not begin with ``sha256``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from adapters_registry.errors import InvalidValue
from adapters_registry.manifest import DIGEST_PATTERN, NAME_PATTERN

PRODUCTION = "production"
"""The alias of a name without a selector."""

_NAME, _DIGEST, _VERSION = (re.compile(pattern) for pattern in (NAME_PATTERN, DIGEST_PATTERN, "[1-9][0-9]{0,8}"))


class Named(NamedTuple):
    """The parts of an adapter's name."""

    tenant: str | None
    """None where none is given."""
    name: str
    selector: str | None
    """The text after the ``@``, unchecked; None without one."""


def take_apart(text: str) -> Named | None:
    """The parts of ``text``; None if it is no adapter's name."""
    path, at, selector = text.partition("@")
    tenant, slash, name = path.rpartition("/")
    if (slash and not is_name(tenant)) or not is_name(name):
        return None
    return Named(tenant if slash else None, name, selector if at else None)


def is_name(text: str) -> bool:
    """Whether ``text`` is valid as the name of a tenant or an adapter."""
    return _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether ``text`` is the number of a version."""
    return _VERSION.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    return is_name(text) and not text.isdigit() and not text.startswith("sha256")


def check_alias(alias: str) -> str:
    """Returns ``alias``; ``InvalidValue`` if it could be read as a version number or a digest."""
    if not is_alias(alias):
        raise InvalidValue(
            f"Alias {alias!r}: use lower-case letters, digits, '.', '_' and '-' (at most 63), beginning with a "
            "letter or digit; not digits alone, and not beginning with 'sha256'.",
            param="alias",
        )
    return alias
