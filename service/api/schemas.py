"""Wire models of the data plane: every honoured field, typed strictly and bounded. Others are removed before."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

Text = Annotated[str, Field(strict=True)]
Label = Annotated[str, Field(strict=True, max_length=512)]
Unit = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(strict=True, ge=-2, le=2, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=1 << 31)]
Tokens = Annotated[int, Field(strict=True, ge=-1, le=1 << 31)]
"""-1: as many as the context permits."""

Role = Literal["system", "user", "assistant"]
Prompt = str | tuple[int, ...]
"""One prompt: text, or token ids."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreamOptions(_Wire):
    """Additional contents of a stream."""

    include_usage: StrictBool | None = None
    continuous_usage_stats: StrictBool | None = None
    """Send the usage so far with every chunk."""


class Message(_Wire):
    """One turn, with its text parts joined; ``developer`` is read as ``system``."""

    role: Role
    content: Text
    name: Label | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _developer_is_system(cls, role: Any) -> Any:
        return "system" if role == "developer" else role


class Request(_Wire):
    """Fields of both endpoints. None is the same as an absent field."""

    model: Annotated[str, Field(strict=True, min_length=1, max_length=1024)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(strict=True, ge=0, le=2, allow_inf_nan=False)] | None = None
    """Greedy below 0.00001."""
    top_p: Unit | None = None
    top_k: Annotated[int, Field(strict=True, ge=-1, le=1 << 20)] | None = None
    """0 and -1: off."""
    min_p: Unit | None = None
    seed: Annotated[int, Field(strict=True, ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: tuple[str, ...] = ()
    n: Annotated[int, Field(strict=True, ge=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(strict=True, ge=0.01, le=10, allow_inf_nan=False)] | None = None
    """At least 0.01: below it, a seen token would be certain, regardless of the model."""
    logit_bias: dict[int, float] | None = None
    """Token id → number that is added to its logit, -100 to 100."""
    ignore_eos: StrictBool | None = None
    min_tokens: Count | None = None
    stop_token_ids: tuple[Count, ...] = ()
    include_stop_str_in_output: StrictBool | None = None
    skip_special_tokens: StrictBool | None = None
    """None: true."""
    truncate_prompt_tokens: Tokens | None = None
    """Keep only this many last tokens of the prompt; -1: as many as leave room for the tokens to be generated."""
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    store: StrictBool | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = None

    @field_validator("max_tokens", "max_completion_tokens")
    @classmethod
    def _generates(cls, tokens: int | None) -> int | None:
        if tokens == 0:
            raise ValueError("0 is not supported: nothing is scored without generating, ask for at least one token")
        return tokens

    @field_validator("truncate_prompt_tokens")
    @classmethod
    def _leaves_something(cls, tokens: int | None) -> int | None:
        if tokens == 0:
            raise ValueError("0 would leave nothing of the prompt")
        return tokens

    @field_validator("stop_token_ids", mode="before")
    @classmethod
    def _ids_as_tuple(cls, ids: Any) -> Any:
        return tuple(ids) if isinstance(ids, list) else ids

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_strings(cls, stop: Any) -> tuple[str, ...]:
        strings = [] if stop is None else [stop] if isinstance(stop, str) else stop
        if not isinstance(strings, list) or not all(isinstance(text, str) and text for text in strings):
            raise ValueError("must be a string that is not empty, or a list of such strings")
        return tuple(strings)

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _token_ids(cls, bias: Any) -> dict[int, float] | None:
        if bias is None:
            return None
        # JSON has no integer keys: token ids come as decimal strings.
        if not isinstance(bias, dict) or not all(
            key.isascii() and key.isdecimal() and len(key) <= 9 and _is_bias(value) for key, value in bias.items()
        ):
            raise ValueError("must map token ids, as strings, to numbers from -100 to 100")
        return {int(key): float(value) for key, value in bias.items()}

    @property
    def tokens_asked(self) -> int | None:
        """The requested ``max_tokens``. None: absent. -1: as many as the context permits."""
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens


class ChatRequest(Request):
    """``POST /v1/chat/completions``."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    add_generation_prompt: StrictBool | None = None
    """None: true, unless the last message is to be continued."""
    continue_final_message: StrictBool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("messages", mode="before")
    @classmethod
    def _as_tuple(cls, messages: Any) -> Any:
        # JSON has only lists, which a strict tuple field would refuse.
        return tuple(messages) if isinstance(messages, list) else messages


class CompletionRequest(Request):
    """``POST /v1/completions``."""

    prompt: tuple[Prompt, ...]
    logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None

    @field_validator("prompt", mode="plain")
    @classmethod
    def _prompts(cls, prompt: Any) -> tuple[Prompt, ...]:
        if isinstance(prompt, str):
            return (prompt,)
        if isinstance(prompt, list) and prompt:
            if all(_is_token(item) for item in prompt):
                return (tuple(prompt),)
            if all(isinstance(item, str) for item in prompt):
                return tuple(prompt)
            if all(isinstance(item, list) and all(_is_token(t) for t in item) for item in prompt):
                return tuple(tuple(item) for item in prompt)
        raise ValueError("must be a string, a list of strings, a list of token ids or a list of such lists")


def _is_token(item: object) -> bool:
    return type(item) is int and item >= 0


def _is_bias(value: object) -> bool:
    return type(value) in (int, float) and -100 <= value <= 100  # type: ignore[operator]
