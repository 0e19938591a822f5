"""Turns messages and texts into token ids that fit the base's context."""

from __future__ import annotations

from collections.abc import Collection

from transformers import PreTrainedTokenizerBase

from adapters_registry.edge.aside import Aside
from service.api.encode import Encoder
from service.api.schemas import Message, Prompt
from service.api.template import Rendering, Template
from service.errors import ContextLengthExceeded, InvalidValue
from service.values import ServedBase

COMPLETION_TOKENS = 16
"""Default ``max_tokens`` of ``/v1/completions``, as in OpenAI's API."""
_INLINE_CHARS = 4096
_AROUND_CHARS = 64
"""Estimate of the characters that a template adds to one message."""
_THREADS = 2
"""Long prompts that are tokenized at the same time; further ones wait, to bound their use of cores."""


class Prompts:
    """The tokenizer, bounded by the base's vocabulary and context."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, served: ServedBase) -> None:
        self._served = served
        self._encoder = Encoder(tokenizer, served.context_tokens)
        self.template = Template(tokenizer)
        self._aside = Aside("tokenize", _THREADS, inline=_INLINE_CHARS)

    async def chat(
        self, messages: tuple[Message, ...], account: str, how: Rendering = Rendering(), keep: int | None = None
    ) -> tuple[int, ...]:
        """The last ``keep`` tokens of the conversation in the base's chat template.

        Long conversations wait for earlier ones of the same ``account``.
        """
        if not self.template:
            raise InvalidValue(f"{self._served.name} has no chat template: use /v1/completions", param="messages")
        # A template adds text to each message, and may repeat the request's variables in it.
        chars = sum(len(message.content) + _AROUND_CHARS for message in messages)
        chars += _INLINE_CHARS * bool(how.variables)
        ids = await self._aside.run(chars, lambda: self._templated(messages, how, keep), account)
        return self._checked(ids, "messages")

    async def text(self, prompt: Prompt, account: str, keep: int | None = None) -> tuple[int, ...]:
        """The tokens of one completion prompt: text is encoded as by transformers, token ids are unchanged."""
        if isinstance(prompt, tuple):
            return self._checked(prompt if keep is None else prompt[-keep:], "prompt")
        ids = await self._aside.run(
            len(prompt), lambda: tuple(self._encoder.encode(prompt, "prompt", special=True, keep=keep)), account
        )
        return self._checked(ids, "prompt")

    def kept(self, wanted: int | None, asked: int | None) -> int | None:
        """The number of prompt tokens that ``truncate_prompt_tokens`` keeps, for ``max_tokens`` of ``asked``."""
        if wanted is None or wanted > 0:
            return wanted
        return max(self._served.context_tokens - max(asked or 1, 1), 1)

    def tokens_left(self, prompt: tuple[int, ...], asked: int | None, default: int | None, param: str) -> int:
        """``max_tokens``: the requested number or the default; without both, and for -1, the rest of the context."""
        context = self._served.context_tokens
        rest = context - len(prompt)
        if asked is None and default is not None:
            return min(default, rest)
        if asked is None or asked < 0:
            return rest
        if asked > rest:
            raise ContextLengthExceeded(
                f"This model's context is {context} tokens, but {len(prompt) + asked} were asked for "
                f"({len(prompt)} in the {param}, {asked} to generate): shorten the {param} or lower max_tokens",
                param="max_tokens",
            )
        return asked

    def check_bias(self, bias: dict[int, float] | None) -> tuple[tuple[int, float], ...]:
        """``logit_bias`` in the engine's form. Raises ``InvalidValue`` for unknown tokens."""
        self._check_known(bias or (), "logit_bias")
        return tuple((bias or {}).items())

    def check_stops(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """``stop_token_ids`` in the engine's form. Raises ``InvalidValue`` for unknown tokens."""
        self._check_known(tokens, "stop_token_ids")
        return tokens

    def _templated(self, messages: tuple[Message, ...], how: Rendering, keep: int | None) -> tuple[int, ...]:
        text = self.template.render(messages, how)
        return tuple(self._encoder.encode(text, "messages", special=False, keep=keep))

    def _checked(self, ids: tuple[int, ...], param: str) -> tuple[int, ...]:
        if not ids:
            raise InvalidValue(f"{param}: is empty", param=param)
        if len(ids) >= self._served.context_tokens:
            raise ContextLengthExceeded(
                f"This model's context is {self._served.context_tokens} tokens, but the {param} have "
                f"{len(ids)} and nothing would be left to generate: shorten them",
                param=param,
            )
        self._check_known(ids, param)
        return ids

    def _check_known(self, tokens: Collection[int], param: str) -> None:
        worst = max(tokens, default=0)
        if worst >= self._served.vocab_size:
            raise InvalidValue(f"{param}: there is no token {str(worst)[:20]}", param=param)
