"""Bounds the number of label values, so that clients cannot increase the number of series."""

from __future__ import annotations

OTHER = "other"


class Capped:
    """The first ``most`` values keep their names; all later ones are ``OTHER``, until the process ends.

    Call it only with values from the catalog, never with names that a client invented.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) == self._most:
            return OTHER
        self._known.add(value)
        return value
