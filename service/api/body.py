"""A request's bytes to its wire model, or an error that names the field."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.api import neutral
from service.api.schemas import ChatRequest, CompletionRequest, Request
from service.errors import InvalidValue, QuickchangeError, UnknownParameter, UnsupportedParameter
from service.settings import Limits

R = TypeVar("R", bound=Request)

_UNHEARD_ROLES = ("tool", "function")


def chat_request(raw: bytes, limits: Limits) -> ChatRequest:
    """The body of ``POST /v1/chat/completions``."""
    fields = neutral.without_neutral(json_object(raw), neutral.REQUEST)
    messages = fields.get("messages")
    if isinstance(messages, list):
        if len(messages) > limits.messages:
            raise InvalidValue(f"messages: at most {limits.messages} are taken", param="messages")
        fields["messages"] = [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    request = _validated(ChatRequest, fields, limits)
    if request.top_logprobs is not None and not request.logprobs:
        raise InvalidValue("top_logprobs: needs logprobs: true", param="top_logprobs")
    _check_choices(1, request, limits)
    return request


def completion_request(raw: bytes, limits: Limits) -> CompletionRequest:
    """The body of ``POST /v1/completions``."""
    fields = neutral.without_neutral(json_object(raw), neutral.REQUEST)
    request = _validated(CompletionRequest, fields, limits)
    _check_choices(len(request.prompt), request, limits)
    return request


def json_object(raw: bytes) -> dict[str, Any]:
    """Raises ``InvalidValue`` where ``raw`` is anything but one JSON object in UTF-8."""
    try:
        fields = json.loads(raw.decode("utf-8"), parse_constant=_not_json)
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
    if b"\\u" in raw:
        _refuse_lone_surrogates(fields)
    return fields


def _not_json(constant: str) -> float:
    raise ValueError(constant)


def _refuse_lone_surrogates(fields: dict[str, Any]) -> None:
    """They are no characters: neither a tokenizer nor UTF-8 can take them."""
    unvisited: list[tuple[str, Any]] = [("", fields)]
    while unvisited:
        path, value = unvisited.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                unvisited.append((path, key))
                unvisited.append((f"{path}.{key}" if path else key, item))
        elif isinstance(value, list):
            unvisited.extend((f"{path}[{i}]", item) for i, item in enumerate(value))
        elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidValue(f"{_printable(path)}: holds a lone surrogate", param=_printable(path))


def _message(message: Any, path: str) -> Any:
    if not isinstance(message, dict):
        return message
    if message.get("role") in _UNHEARD_ROLES:
        raise UnsupportedParameter(f"{path}.role: {message['role']} messages are not supported", param=f"{path}.role")
    fields = neutral.without_neutral(message, neutral.MESSAGE, prefix=f"{path}.")
    if isinstance(fields.get("content"), list):
        fields["content"] = _joined(fields["content"], f"{path}.content")
    return fields


def _joined(parts: list[Any], path: str) -> str:
    """The text of content parts, one after the other on lines of their own."""
    texts = []
    for i, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise UnsupportedParameter(f"{path}[{i}]: only parts of type text are supported", param=f"{path}[{i}]")
        if kind is None or part.keys() != {"type", "text"} or not isinstance(part["text"], str):
            raise InvalidValue(f'{path}[{i}]: must be {{"type": "text", "text": "…"}}', param=f"{path}[{i}]")
        texts.append(part["text"])
    return "\n".join(texts)


def _validated(model: type[R], fields: dict[str, Any], limits: Limits) -> R:
    try:
        request = model.model_validate(fields)
    except ValidationError as error:
        raise _first(error) from error
    if request.max_tokens and request.max_completion_tokens not in (None, request.max_tokens):
        raise InvalidValue("max_completion_tokens: differs from max_tokens; send one", param="max_completion_tokens")
    if request.stream_options is not None and not request.stream:
        raise InvalidValue("stream_options: needs stream: true", param="stream_options")
    if len(request.stop) > limits.stop_strings:
        raise InvalidValue(f"stop: at most {limits.stop_strings} strings are taken", param="stop")
    if any(len(text) > limits.stop_chars for text in request.stop):
        raise InvalidValue(f"stop: a string is over {limits.stop_chars} characters", param="stop")
    if request.logit_bias and len(request.logit_bias) > limits.logit_bias_entries:
        raise InvalidValue(f"logit_bias: at most {limits.logit_bias_entries} tokens are taken", param="logit_bias")
    return request


def _check_choices(prompts: int, request: Request, limits: Limits) -> None:
    if prompts > limits.choices:
        raise InvalidValue(f"prompt: at most {limits.choices} prompts are taken", param="prompt")
    if prompts * (request.n or 1) > limits.choices:
        raise InvalidValue(f"n: a request may have at most {limits.choices} choices, prompts times n", param="n")


def _first(error: ValidationError) -> QuickchangeError:
    # An unknown field is told first: it is often a misspelt one whose absence is told too.
    details = error.errors(include_url=False, include_input=False, include_context=False)
    detail = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
    param = _param(detail)
    if detail["type"] == "extra_forbidden":
        return UnknownParameter(f"{param}: there is no such parameter", param=param)
    reason = detail["msg"].removeprefix("Value error, ")
    return InvalidValue(f"{param}: {reason[:1].lower()}{reason[1:]}", param=param)


def _param(detail: ErrorDetails) -> str:
    path = ""
    for step in detail["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return _printable(path)


def _printable(path: str) -> str:
    """``path`` as it may go into an answer: short, and without what UTF-8 cannot carry."""
    return path[:200].encode("utf-8", "replace").decode()
