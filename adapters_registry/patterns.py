"""PEFT's rules for which module a config means (``peft.tuners.tuners_utils``), within a bounded time.

The patterns come from the uploader, so they run under a deadline: Python's ``re`` can neither be interrupted nor
let other threads run meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import regex

from adapters_registry.errors import InvalidConfig

PATTERN_CHARS = 4096
_FIRST_INDEX = r".*?\.[^.]*\.(?P<idx>\d+)\."


class Matcher:
    """Regular expressions of one config; together they may take ``budget_s`` seconds."""

    def __init__(self, budget_s: float = 5.0) -> None:
        self._deadline = time.monotonic() + budget_s
        self._compiled: dict[str, regex.Pattern[str]] = {}

    def match(self, pattern: str, text: str, field: str, *, full: bool = False) -> regex.Match[str] | None:
        """As ``re.match`` or ``re.fullmatch``; ``InvalidConfig`` naming ``field`` for a malformed or slow pattern."""
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            compiled = self._compile(pattern, field)
            run = compiled.fullmatch if full else compiled.match
            return run(text, timeout=left, concurrent=True)
        except TimeoutError:
            self._deadline = 0.0  # `regex` counts processor time of all threads, so wall time may be left
            raise InvalidConfig(
                f"{field}: its patterns take too long to match; name the modules plainly.", param=field
            ) from None

    def _compile(self, pattern: str, field: str) -> regex.Pattern[str]:
        if pattern not in self._compiled:
            if len(pattern) > PATTERN_CHARS:
                raise InvalidConfig(
                    f"{field}: a pattern has over {PATTERN_CHARS} characters; name the modules plainly.", param=field
                )
            try:
                self._compiled[pattern] = regex.compile(pattern)
            except (regex.error, RecursionError, OverflowError) as error:
                raise InvalidConfig(
                    f"{field}: {pattern[:80]!r} is not a regular expression ({error}); name the modules plainly.",
                    param=field,
                ) from None
        return self._compiled[pattern]

    def first_key(self, keys: Iterable[str], module: str, field: str) -> str:
        """The first of ``keys`` that means ``module`` (``get_pattern_key``); default: ``module`` itself."""
        for key in keys:
            if self.match(rf"(.*\.)?({key})$", module, field):
                return key
        return module

    def layer(self, patterns: str | Sequence[str] | None, module: str) -> int | None:
        """The index of the decoder layer that ``module`` is in (``layers_pattern``)."""
        if not patterns:
            found = self.match(_FIRST_INDEX, module, "layers_pattern")
        else:
            listed = [patterns] if isinstance(patterns, str) else patterns
            tries = (self.match(rf"(?:^|.*?\.){p}\.(?P<idx>\d+)\.", module, "layers_pattern") for p in listed)
            found = next((match for match in tries if match), None)
        return int(found["idx"]) if found else None


def suffixes(module: str) -> Iterator[str]:
    """The names that mean ``module`` in a list: its full name and its last parts."""
    parts = module.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))
