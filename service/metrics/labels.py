"""Label values under a cap: so that no client can grow the number of series."""

from __future__ import annotations

OTHER = "other"


class Capped:
    """The first ``most`` values keep their names; all later ones are ``OTHER``, for as long as the process lives.

    Only what was found in the catalog may be asked for: a name that a client made up must never get here.
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
