"""Sorts a request's fields by the table: honoured, ignored and reported, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.api.field import Field, Use
from service.api.json_object import printable
from service.errors import UnknownParameter, UnsupportedParameter

MOST_NAMES = 20
"""Bound on names of ignored fields in an answer."""
NAME_CHARS = 64
_ODD = re.compile(r"[^A-Za-z0-9_.\[\]-]")


@dataclass
class Ignored:
    """The ignored fields of one request, collected from all its parts."""

    refuse_unknown: bool = False
    """The setting ``limits.unknown_fields``."""
    hints: int = 0
    unknown: int = 0
    """Number of unknown fields; the same field of several messages counts each time."""
    names: dict[str, None] = field(default_factory=dict)
    """The first names, in a form for headers."""

    def header(self) -> str:
        """The value of ``x-ignored-parameters``; empty if no field was ignored."""
        return ", ".join(self.names)

    def hint(self, name: str) -> None:
        self.hints += 1
        self._note(name)

    def unknown_field(self, name: str) -> None:
        """Note an unknown field. Raises ``UnknownParameter`` if unknown fields are refused."""
        if self.refuse_unknown:
            param = printable(name)
            raise UnknownParameter(f"{param}: there is no such parameter", param=param)
        self.unknown += 1
        self._note(name)

    def _note(self, name: str) -> None:
        if len(self.names) < MOST_NAMES:
            self.names.setdefault(_ODD.sub("?", name[:NAME_CHARS]), None)


def sort_out(
    fields: Mapping[str, Any], table: Mapping[str, Field], ignored: Ignored, path: str = "", at: str = ""
) -> dict[str, Any]:
    """The honoured ones of ``fields``. Raises ``UnsupportedParameter`` for a refused one.

    Errors name a field at ``path``, e.g. ``messages[3]``; ignored fields are reported at ``at``, e.g. ``messages``.
    """
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        known = table.get(name)
        if known is None:
            ignored.unknown_field(_join(at, name))
        elif known.use in (Use.HONOURED, Use.LABEL):
            kept[name] = value
        elif known.asks_for_nothing(value):
            continue
        elif known.use is Use.HINT:
            ignored.hint(_join(at, name))
        else:
            param = _join(path, name)
            raise UnsupportedParameter(
                f"{param} is not supported by this service: {known.instead or 'leave it out'}", param=param
            )
    return kept


def _join(path: str, name: str) -> str:
    return f"{path}.{name[:NAME_CHARS]}" if path else name[:NAME_CHARS]
