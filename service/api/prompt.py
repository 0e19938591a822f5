"""Messages and texts to token ids that fit the base's context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from service.api.schemas import Message, Prompt
from service.errors import ContextLengthExceeded, InvalidValue
from service.values import ServedBase

T = TypeVar("T")

COMPLETION_TOKENS = 16
"""What ``/v1/completions`` generates when ``max_tokens`` is left out, as OpenAI's does."""
_INLINE_CHARS = 4096
"""Shorter texts take well under a millisecond: less than the way to a thread and back."""


class Prompts:
    """The tokenizer, bounded by the base's vocabulary and context."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, served: ServedBase) -> None:
        self._tokenizer = tokenizer
        self._served = served
        # The first call settles truncation and padding inside the tokenizer; later ones only read, so they
        # may run on several threads at once.
        tokenizer("settle")

    async def chat(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The conversation through the base's chat template, up to where the assistant's turn begins."""
        if self._tokenizer.chat_template is None:
            raise InvalidValue(f"{self._served.name} has no chat template: use /v1/completions", param="messages")
        turns = [message.model_dump(exclude_none=True) for message in messages]
        chars = sum(len(message.content) for message in messages)
        try:
            ids = await self._run(chars, lambda: self._template(turns))
        except (TemplateError, ValueError, TypeError) as error:
            # Templates refuse by raising, e.g. roles that do not alternate; TypeError is one that concatenates.
            raise InvalidValue(f"messages: the chat template refuses them: {error}", param="messages") from error
        return self._checked(ids, "messages")

    async def text(self, prompt: Prompt) -> tuple[int, ...]:
        """One completion prompt: text is encoded as transformers does, token ids are taken as they are."""
        if isinstance(prompt, tuple):
            return self._checked(prompt, "prompt")
        ids = await self._run(len(prompt), lambda: tuple(self._tokenizer(prompt)["input_ids"]))
        return self._checked(ids, "prompt")

    def tokens_left(self, prompt: tuple[int, ...], asked: int | None, default: int | None, param: str) -> int:
        """``max_tokens`` of a prompt: what was asked, else the default, else the rest of the context."""
        context = self._served.context_tokens
        rest = context - len(prompt)
        if asked is None:
            return rest if default is None else min(default, rest)
        if asked > rest:
            raise ContextLengthExceeded(
                f"This model's context is {context} tokens, but {len(prompt) + asked} were asked for "
                f"({len(prompt)} in the {param}, {asked} to generate): shorten the {param} or lower max_tokens",
                param="max_tokens",
            )
        return asked

    def check_bias(self, bias: dict[int, float] | None) -> tuple[tuple[int, float], ...]:
        """``logit_bias`` as the engine takes it."""
        unknown = next((token for token in bias or {} if token >= self._served.vocab_size), None)
        if unknown is not None:
            raise InvalidValue(f"logit_bias: there is no token {unknown}", param="logit_bias")
        return tuple((bias or {}).items())

    def _template(self, turns: list[dict[str, str]]) -> tuple[int, ...]:
        encoded = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
        return tuple(encoded["input_ids"])

    def _checked(self, ids: tuple[int, ...], param: str) -> tuple[int, ...]:
        if not ids:
            raise InvalidValue(f"{param}: is empty", param=param)
        if len(ids) >= self._served.context_tokens:
            raise ContextLengthExceeded(
                f"This model's context is {self._served.context_tokens} tokens, but the {param} have "
                f"{len(ids)} and nothing would be left to generate: shorten them",
                param=param,
            )
        worst = max(ids)
        if worst >= self._served.vocab_size:
            raise InvalidValue(f"{param}: there is no token {worst}", param=param)
        return ids

    async def _run(self, chars: int, work: Callable[[], T]) -> T:
        return work() if chars <= _INLINE_CHARS else await asyncio.to_thread(work)
