"""Parses the body of ``POST /v1/feedback``: one event or a batch; errors name the field."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from service.errors import InvalidValue, QuickchangeError, UnknownParameter
from service.feedback.said import KINDS, FeedbackInput

_INPUT: TypeAdapter[FeedbackInput] = TypeAdapter(FeedbackInput)

BATCH = "events"
MOST_FIELDS = 16
"""Bound on fields of an event, which has at most seven; each unknown field would become a separate error."""


def parse_inputs(body: dict[str, object], most: int) -> tuple[FeedbackInput, ...]:
    """The events of a JSON object: one event, or ``{"events": [...]}`` with 1 to ``most``.

    Raises ``InvalidValue`` or ``UnknownParameter`` with a ``param`` such as ``events[3].target.choice``.
    """
    if BATCH not in body:
        return (_input(body, ""),)
    events = body[BATCH]
    other = next((name for name in body if name != BATCH), None)
    if other is not None:
        raise UnknownParameter(f"{_shown(other)}: a batch has the field events and no other", param=_shown(other))
    if not isinstance(events, list) or not 1 <= len(events) <= most:
        raise InvalidValue(f"events: must be a list of 1 to {most} events", param=BATCH)
    return tuple(_input(event, f"{BATCH}[{i}]") for i, event in enumerate(events))


def field_path(index: int, count: int, field: str) -> str:
    """The name of ``field`` of event ``index`` of ``count`` in errors."""
    return field if count == 1 else f"{BATCH}[{index}].{field}"


def _input(event: object, path: str) -> FeedbackInput:
    _check_sizes(event, path)
    try:
        return _INPUT.validate_python(event)
    except ValidationError as error:
        raise _first(error, path) from error


def _check_sizes(event: object, path: str) -> None:
    if not isinstance(event, dict):
        return
    if len(event) > MOST_FIELDS:
        raise InvalidValue(f"{path or 'body'}: has over {MOST_FIELDS} fields", param=path or None)
    for name, part in event.items():
        if isinstance(part, dict):
            _check_sizes(part, _shown(f"{path}.{name[:64]}" if path else name))


def _first(error: ValidationError, path: str) -> QuickchangeError:
    # An unknown field is reported first: it is often the misspelt name of a field that is reported as missing.
    details = error.errors(include_url=False, include_input=False, include_context=False)
    detail = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
    param = _param(detail, path)
    if detail["type"] == "extra_forbidden":
        return UnknownParameter(f"{param}: there is no such field", param=param)
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        param = f"{path}.kind" if path else "kind"
        return InvalidValue(f"{param}: must be one of {', '.join(KINDS)}", param=param)
    reason = detail["msg"].removeprefix("Value error, ")
    return InvalidValue(f"{param or 'body'}: {reason[:1].lower()}{reason[1:]}", param=param or None)


def _param(detail: ErrorDetails, path: str) -> str:
    steps = detail["loc"]
    for step in steps[1:] if steps and steps[0] in KINDS else steps:  # the first is the union's tag
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return _shown(path)


def _shown(path: str) -> str:
    return path[:200].encode("utf-8", "replace").decode()
