"""Parses a request's bytes to its wire model and the ignored fields, or raises an error that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from service.api import fields as tables
from service.api.field import Field
from service.api.json_object import json_object, path_of, printable
from service.api.schemas import ChatRequest, CompletionRequest, Request
from service.api.sorting import Ignored, sort_out
from service.errors import InvalidValue, QuickchangeError, UnsupportedParameter
from service.settings import Limits

R = TypeVar("R", bound=Request)

_UNHEARD_ROLES = ("tool", "function")
METADATA_ENTRIES = 16
TEMPLATE_VARIABLES = 64
TEMPLATE_CHARS = 16 << 10
"""Bound on the characters of all variables, because a template may repeat them for each message."""


@dataclass(frozen=True, slots=True)
class Parsed(Generic[R]):
    """A parsed body, without refused fields."""

    request: R
    ignored: Ignored


def chat_request(raw: bytes, limits: Limits) -> Parsed[ChatRequest]:
    """Parses the body of ``POST /v1/chat/completions``."""
    fields, ignored = _honoured(raw, tables.CHAT, limits)
    messages = fields.get("messages")
    if isinstance(messages, list):
        if len(messages) > limits.messages:
            raise InvalidValue(f"messages: at most {limits.messages} are taken", param="messages")
        fields["messages"] = [_message(message, f"messages[{i}]", ignored) for i, message in enumerate(messages)]
    request = _validated(ChatRequest, fields, limits)
    if request.top_logprobs is not None and not request.logprobs:
        raise InvalidValue("top_logprobs: needs logprobs: true", param="top_logprobs")
    if request.continue_final_message and request.add_generation_prompt:
        raise InvalidValue(
            "add_generation_prompt: must be false with continue_final_message", param="add_generation_prompt"
        )
    _check_choices(1, request, limits)
    return Parsed(request, ignored)


def completion_request(raw: bytes, limits: Limits) -> Parsed[CompletionRequest]:
    """Parses the body of ``POST /v1/completions``."""
    fields, ignored = _honoured(raw, tables.COMPLETION, limits)
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) > limits.choices and isinstance(prompt[0], str | list):
        raise _too_many_prompts(limits)
    request = _validated(CompletionRequest, fields, limits)
    _check_choices(len(request.prompt), request, limits)
    return Parsed(request, ignored)


def _honoured(raw: bytes, table: Mapping[str, Field], limits: Limits) -> tuple[dict[str, Any], Ignored]:
    """The fields that the wire models have, and the ignored others."""
    ignored = Ignored(refuse_unknown=limits.unknown_fields == "refuse")
    said = json_object(raw)
    if said.get("tool_choice") == "none":
        said.pop("tools", None)
    if said.get("function_call") == "none":
        said.pop("functions", None)
    fields = sort_out(said, table, ignored)
    options = fields.get("stream_options")
    if isinstance(options, dict):
        path = "stream_options"
        fields[path] = sort_out(options, tables.STREAM_OPTIONS, ignored, path, path)
    for name in ("logit_bias", "metadata"):
        if isinstance(fields.get(name), dict):
            fields[name] = {key: value for key, value in fields[name].items() if value is not None}
    return fields, ignored


def _message(message: Any, path: str, ignored: Ignored) -> Any:
    if not isinstance(message, dict):
        return message
    if message.get("role") in _UNHEARD_ROLES:
        raise UnsupportedParameter(f"{path}.role: {message['role']} messages are not supported", param=f"{path}.role")
    fields = sort_out(message, tables.MESSAGE, ignored, path, "messages")
    if isinstance(fields.get("content"), list):
        fields["content"] = _joined(fields["content"], f"{path}.content", ignored)
    if fields.get("role") == "assistant":
        fields.setdefault("content", "")  # it is null next to tool calls, and in empty answers
    return fields


def _joined(parts: list[Any], path: str, ignored: Ignored) -> str:
    """The texts of the content parts, joined by newlines."""
    texts = []
    for i, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise UnsupportedParameter(f"{path}[{i}]: only parts of type text are supported", param=f"{path}[{i}]")
        if kind is None or not isinstance(part.get("text"), str):
            raise InvalidValue(f'{path}[{i}]: must be {{"type": "text", "text": "…"}}', param=f"{path}[{i}]")
        texts.append(sort_out(part, tables.PART, ignored, f"{path}[{i}]", "messages.content")["text"])
    return "\n".join(texts)


def _validated(model: type[R], fields: dict[str, Any], limits: Limits) -> R:
    _check_sizes(fields, limits)
    try:
        request = model.model_validate(fields)
    except ValidationError as error:
        raise _first(error) from None
    if request.max_tokens and request.max_completion_tokens not in (None, request.max_tokens):
        raise InvalidValue("max_completion_tokens: differs from max_tokens; send one", param="max_completion_tokens")
    if 0 < (request.tokens_asked or 0) < (request.min_tokens or 0):
        raise InvalidValue("min_tokens: is over max_tokens", param="min_tokens")
    if request.stream_options is not None and not request.stream:
        raise InvalidValue("stream_options: needs stream: true", param="stream_options")
    if any(len(text) > limits.stop_chars for text in request.stop):
        raise InvalidValue(f"stop: a string is over {limits.stop_chars} characters", param="stop")
    return request


def _check_sizes(fields: dict[str, Any], limits: Limits) -> None:
    """Checks the lengths of lists before validation, which would create an error for each item of a wrong list."""
    most = {
        "stop": (limits.stop_strings, "strings"),
        "stop_token_ids": (limits.stop_strings, "tokens"),
        "logit_bias": (limits.logit_bias_entries, "tokens"),
        "metadata": (METADATA_ENTRIES, "entries"),
        "chat_template_kwargs": (TEMPLATE_VARIABLES, "variables"),
    }
    variables = fields.get("chat_template_kwargs")
    if isinstance(variables, dict) and len(json.dumps(variables)) > TEMPLATE_CHARS:
        raise InvalidValue(
            f"chat_template_kwargs: has over {TEMPLATE_CHARS} characters", param="chat_template_kwargs"
        )
    for name, (bound, what) in most.items():
        value = fields.get(name)
        if isinstance(value, list | dict) and len(value) > bound:
            raise InvalidValue(f"{name}: at most {bound} {what} are taken", param=name)


def _check_choices(prompts: int, request: Request, limits: Limits) -> None:
    if prompts > limits.choices:
        raise _too_many_prompts(limits)
    if prompts * (request.n or 1) > limits.choices:
        raise InvalidValue(f"n: a request may have at most {limits.choices} choices, prompts times n", param="n")


def _too_many_prompts(limits: Limits) -> InvalidValue:
    return InvalidValue(f"prompt: at most {limits.choices} prompts are taken", param="prompt")


def _first(error: ValidationError) -> QuickchangeError:
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = printable(path_of(detail["loc"]))
    reason = detail["msg"].removeprefix("Value error, ")
    return InvalidValue(f"{param}: {reason[:1].lower()}{reason[1:]}", param=param)
