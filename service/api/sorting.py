"""What a request's fields are by the table: kept, ignored and reported, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.api.field import Field, Use
from service.api.json_object import printable
from service.errors import UnknownParameter, UnsupportedParameter

MOST_NAMES = 20
"""Names of ignored fields that an answer repeats."""
NAME_CHARS = 64
_ODD = re.compile(r"[^A-Za-z0-9_.\[\]-]")


@dataclass
class Ignored:
    """What of one request is ignored; collected on the way through its parts."""

    refuse_unknown: bool = False
    """As ``limits.unknown_fields`` says."""
    hints: int = 0
    unknown: int = 0
    """How many fields: the same field of several messages counts each time."""
    names: dict[str, None] = field(default_factory=dict)
    """The first ones, fit for a header."""

    def header(self) -> str:
        """The value of ``x-ignored-parameters``; empty where there is nothing to tell."""
        return ", ".join(self.names)

    def hint(self, name: str) -> None:
        self.hints += 1
        self._note(name)

    def unheard(self, name: str) -> None:
        """Raises ``UnknownParameter`` where unknown fields are refused."""
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
    """Those of ``fields`` that are honoured. Raises ``UnsupportedParameter`` for one that is refused.

    Errors name a field at ``path``, e.g. ``messages[3]``; what is ignored is reported at ``at``, e.g. ``messages``.
    """
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        known = table.get(name)
        if known is None:
            ignored.unheard(_join(at, name))
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
