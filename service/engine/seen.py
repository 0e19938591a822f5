"""Counts the distinct tokens of a sequence incrementally, so that a step need not read the whole sequence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_ROOM = 64


class Seen:
    """Distinct tokens in the order of their first appearance; adding one takes constant time."""

    def __init__(self, prompt: Iterable[int]) -> None:
        """``prompt``: tokens that count as seen, but not as generated."""
        distinct = list(dict.fromkeys(prompt))
        self._slots = {token: slot for slot, token in enumerate(distinct)}
        self._tokens = np.array(distinct + [0] * _ROOM, np.int64)
        self._generated = np.zeros(len(self._tokens))

    def add(self, token: int) -> None:
        """Count a generated token."""
        slot = self._slots.setdefault(token, len(self._slots))
        if slot == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros_like(self._tokens)])
            self._generated = np.concatenate([self._generated, np.zeros_like(self._generated)])
        self._tokens[slot] = token
        self._generated[slot] += 1

    @property
    def tokens(self) -> NDArray[np.int64]:
        """[distinct]"""
        return self._tokens[: len(self._slots)]

    @property
    def generated(self) -> NDArray[np.float64]:
        """[distinct]: how often each was generated."""
        return self._generated[: len(self._slots)]
