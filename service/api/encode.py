"""Tokenizes text; the cost is bounded by the base's context, however long the text is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

from service.errors import ContextLengthExceeded

_PIECE_CHARS = 1 << 12
"""Characters of a piece; texts are counted in pieces, because the tokenizer takes 300 to 500 bytes per token."""
_CUT_TOKENS = 64
"""Upper bound on the tokens that a cut between two pieces adds."""


class Encoder:
    """The base's tokenizer. Its calls may run on several threads at once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context = context_tokens
        self._most_bytes = _most_bytes(tokenizer, context_tokens)
        # The first call sets truncation and padding inside the tokenizer; later calls only read them.
        tokenizer("settle")

    def check_length(self, chars: int, param: str) -> None:
        """Raises ``ContextLengthExceeded`` if no text of ``chars`` characters can fit into the context."""
        if self._most_bytes is not None and chars > self._most_bytes:
            raise ContextLengthExceeded(
                f"This model's context is {self._context} tokens, and the {param} have {chars} characters, more than "
                "so many tokens ever spell: shorten them",
                param=param,
            )

    def encode(self, text: str, param: str, *, special: bool, keep: int | None = None) -> list[int]:
        """All of ``text``, or its last ``keep`` tokens.

        ``special``: add the tokenizer's own special tokens. Raises ``ContextLengthExceeded`` for a text that is
        certainly longer than the context; a slightly longer one is encoded.
        """
        if keep is not None:
            return self._ids(self._end_of(text, keep), special)[-keep:]
        self.check_length(len(text), param)
        if len(text) > self._context and self._is_too_much(text):
            raise ContextLengthExceeded(
                f"This model's context is {self._context} tokens, and the {param} have more: shorten them",
                param=param,
            )
        return self._ids(text, special)

    def _is_too_much(self, text: str) -> bool:
        tokens = 0
        for begin, end in _pieces(len(text)):
            tokens += len(self._ids(text[begin:end], False)) - _CUT_TOKENS
            if tokens > self._context:
                return True
        return False

    def _end_of(self, text: str, keep: int) -> str:
        """The end of ``text`` with the same last ``keep`` tokens as the whole, and few more."""
        tokens = 0
        for begin, end in reversed(list(_pieces(len(text)))):
            if tokens > keep:
                return text[end:]
            tokens += len(self._ids(text[begin:end], False)) - _CUT_TOKENS
        return text

    def _ids(self, text: str, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids


def _pieces(chars: int) -> Iterator[tuple[int, int]]:
    return ((begin, min(begin + _PIECE_CHARS, chars)) for begin in range(0, chars, _PIECE_CHARS))


def _most_bytes(tokenizer: PreTrainedTokenizerBase, tokens: int) -> int | None:
    """Most bytes of text in ``tokens`` tokens; None if a token may stand for text of any length.

    It is known for byte-level tokenizers that do not normalise the text: each byte is in exactly one token.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(getattr(backend, "decoder", None), decoders.ByteLevel) or backend.normalizer is not None:
        return None
    return tokens * max(len(piece.encode()) for piece in tokenizer.get_vocab())
