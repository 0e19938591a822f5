"""Parses a request's bytes to one JSON object, in time linear in their number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from adapters_registry import json_text
from service.errors import InvalidValue

SHOWN = 200
"""Bound on characters of a client's text that an error repeats."""
INT_DIGITS = 100
"""Bound on digits, because the time to parse an integer grows with their square."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (INT_DIGITS + 1))
_SURROGATE = re.compile("[\ud800-\udfff]")


def json_object(raw: bytes) -> dict[str, Any]:
    """Raises ``InvalidValue`` if ``raw`` is not one JSON object in UTF-8, or exceeds the bounds of its nodes."""
    objection = json_text.objection(raw)
    if objection is not None:
        raise InvalidValue(f"the body is too large to take in: {objection}")
    try:
        parse_int = _short_int if _LONG_NUMBER.search(raw) else None
        fields = json.loads(raw.decode("utf-8"), parse_constant=_not_json, parse_int=parse_int)
    except UnicodeDecodeError as error:
        raise InvalidValue(f"the body is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise InvalidValue(f"the body is not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidValue(
            "the body is not JSON: a number is not finite or too long, or it nests too deep"
        ) from error
    if not isinstance(fields, dict):
        raise InvalidValue("the body must be a JSON object")
    if json_text.may_hold_lone_surrogate(raw) and (path := _path_of_surrogate(fields)) is not None:
        param = printable(path)
        raise InvalidValue(f"{param}: holds a lone surrogate", param=param)
    return fields


def printable(text: str) -> str:
    """``text`` in a form for answers: shortened, and without characters that UTF-8 cannot encode."""
    return text[:SHOWN].encode("utf-8", "replace").decode()


def _not_json(constant: str) -> float:
    raise ValueError(constant)


def _short_int(digits: str) -> int:
    if len(digits) > INT_DIGITS:
        raise ValueError(digits[:INT_DIGITS])
    return int(digits)


def _path_of_surrogate(fields: dict[str, Any]) -> str | None:
    """The path to the first lone surrogate, which neither a tokenizer nor UTF-8 can encode.

    None if it was in a value that a later field of the same name replaced. The walk stores only the steps to its
    current place, and formats them once the surrogate is found.
    """
    steps: list[str | int] = []
    walks: list[Iterator[tuple[str | int, Any]]] = [_items(fields)]
    while walks:
        try:
            step, value = next(walks[-1])
        except StopIteration:
            walks.pop()
            if steps:
                steps.pop()
            continue
        if isinstance(step, str) and _SURROGATE.search(step):
            return path_of(steps)
        if isinstance(value, str) and _SURROGATE.search(value):
            return path_of([*steps, step])
        if isinstance(value, dict | list):
            steps.append(step)
            walks.append(_items(value))
    return None


def _items(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(value.items()) if isinstance(value, dict) else enumerate(value)


def path_of(steps: Sequence[str | int]) -> str:
    """A path as errors show it, such as ``messages[3].content``, shortened."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step[:SHOWN]}" if path else step[:SHOWN]
        if len(path) > SHOWN:
            break
    return path
