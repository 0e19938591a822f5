"""Fields of the OpenAI API that are not honoured, and the values of them that ask for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.errors import UnsupportedParameter

Neutral = Callable[[Any], bool]


def _is(*values: object) -> Neutral:
    # `is` for the booleans: in Python 1 == True, in JSON it is not.
    return lambda value: any(
        value is neutral if isinstance(neutral, bool) else value == neutral and not isinstance(value, bool)
        for neutral in values
    )


_NULL = _is()
_EMPTY = _is([])

REQUEST: Mapping[str, Neutral] = {
    "audio": _NULL,
    "best_of": _is(1),
    "echo": _is(False),
    "function_call": _is("none", "auto"),
    "functions": _EMPTY,
    "modalities": _is(["text"]),
    "moderation": _NULL,
    "parallel_tool_calls": _is(True, False),
    "prediction": _NULL,
    "prompt_cache_options": _NULL,
    "prompt_cache_retention": _NULL,
    "reasoning_effort": _is("none"),
    "response_format": _is({"type": "text"}),
    "service_tier": _is("auto", "default"),
    "suffix": _is(""),
    "tool_choice": _is("none", "auto"),
    "tools": _EMPTY,
    "verbosity": _is("medium"),
    "web_search_options": _NULL,
}
"""Of a request, chat or not. null is neutral everywhere."""

MESSAGE: Mapping[str, Neutral] = {
    "annotations": _EMPTY,
    "audio": _NULL,
    "function_call": _NULL,
    "refusal": _NULL,
    "tool_call_id": _NULL,
    "tool_calls": _EMPTY,
}
"""Of a message: clients send an earlier answer back with all the fields it came with."""


def without_neutral(fields: dict[str, Any], table: Mapping[str, Neutral], prefix: str = "") -> dict[str, Any]:
    """``fields`` less those of ``table``. Raises ``UnsupportedParameter`` for one that asks for something."""
    for name in sorted(fields.keys() & table.keys()):
        value = fields[name]
        if value is not None and not table[name](value):
            raise UnsupportedParameter(
                f"{prefix}{name} is not supported by this service: leave it out", param=f"{prefix}{name}"
            )
    return {name: value for name, value in fields.items() if name not in table}
