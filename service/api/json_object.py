"""A request's bytes to one JSON object, at a cost that is linear in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from adapters_registry import json_text
from service.errors import InvalidValue

SHOWN = 200
"""Characters of a client's text that an error repeats."""
INT_DIGITS = 100
"""Of longer integers the cost grows with the square of their digits."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (INT_DIGITS + 1))
_SURROGATE = re.compile("[\ud800-\udfff]")


def json_object(raw: bytes) -> dict[str, Any]:
    """Raises ``InvalidValue`` where ``raw`` is anything but one JSON object in UTF-8, or would become too much."""
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
    """``text`` as it may go into an answer: short, and without what UTF-8 cannot carry."""
    return text[:SHOWN].encode("utf-8", "replace").decode()


def _not_json(constant: str) -> float:
    raise ValueError(constant)


def _short_int(digits: str) -> int:
    if len(digits) > INT_DIGITS:
        raise ValueError(digits[:INT_DIGITS])
    return int(digits)


def _path_of_surrogate(fields: dict[str, Any]) -> str | None:
    """The way to the first lone surrogate: it is no character, neither a tokenizer nor UTF-8 can take it.

    None where it was in a value that another of the same name replaced. Only the steps to where the walk is are kept,
    and none is put into words before the place is found.
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
    """As an error names a place: ``messages[3].content``; no longer than an error shows."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step[:SHOWN]}" if path else step[:SHOWN]
        if len(path) > SHOWN:
            break
    return path
