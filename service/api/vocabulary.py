"""Decodes token ids to bytes and to text, incrementally: the joined pieces equal the tokenizer's decoding of all."""

from __future__ import annotations

import codecs
import re
from typing import Protocol

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Detokenizer(Protocol):
    """Decodes the tokens of one choice, one at a time."""

    def push(self, token: int) -> str:
        """The text that is final with ``token``; empty while a character is incomplete."""
        ...

    def flush(self) -> str:
        """The text that was held back; call it at the end."""
        ...


class Vocabulary:
    """The texts and bytes of one tokenizer's tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(token for token, one in added.items() if one.special)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._byte_level = isinstance(getattr(backend, "decoder", None), decoders.ByteLevel)
        # Computed once, because it takes a quarter of a second for a hundred thousand tokens.
        self._pieces: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        spell = _byte_level_spelling if self._byte_level else _plain_spelling
        self._spellings = [b"" if piece is None else spell(piece) for piece in self._pieces]

    def detokenizer(self, *, special: bool = False) -> Detokenizer:
        """A new detokenizer, for one choice. ``special``: include the text of special tokens."""
        return _Bytes(self, special) if self._byte_level else _Window(self, special)

    def is_special(self, token: int) -> bool:
        return token in self._special

    def spelling(self, token: int) -> bytes:
        """The bytes of one token, also of a special one; empty for an id without a token."""
        return self._spellings[token] if token < len(self._spellings) else b""

    def is_byte(self, token: int) -> bool:
        """Whether the token stands for one byte of a character that has no token."""
        piece = self._pieces[token] if token < len(self._pieces) else None
        return piece is not None and _BYTE_TOKEN.fullmatch(piece) is not None

    def decode(self, tokens: list[int], *, special: bool = False) -> str:
        text = self._tokenizer.decode(tokens, skip_special_tokens=not special)
        assert isinstance(text, str)
        return text


class _Bytes:
    """For byte-level BPE: every token is a sequence of bytes, so a UTF-8 decoder is the only state."""

    def __init__(self, vocabulary: Vocabulary, special: bool) -> None:
        self._vocabulary = vocabulary
        self._special = special
        # Rust's lossy decoding and Python's "replace" both write one U+FFFD for each maximal invalid part.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        if not self._special and self._vocabulary.is_special(token):
            return ""
        return self._utf8.decode(self._vocabulary.spelling(token))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)


class _Window:
    """For all other tokenizers: decodes the last tokens with their left neighbour, and returns the new text.

    ``…| neighbour |held … token|``: with the neighbour, a decoder that strips a leading space does not strip it here.
    Tokens for single bytes are held until their run ends, because one invalid byte changes the decoding of the run.
    """

    _HOLD = 16
    """Bound on held tokens. A character has at most four bytes, so a longer invalid text is really invalid."""

    def __init__(self, vocabulary: Vocabulary, special: bool) -> None:
        self._vocabulary = vocabulary
        self._special = special
        self._neighbours: list[int] = []
        self._shown = ""
        self._held: list[int] = []

    def push(self, token: int) -> str:
        if not self._special and self._vocabulary.is_special(token):
            return ""
        self._held.append(token)
        if self._vocabulary.is_byte(token):
            return ""
        text = self._decode(self._neighbours + self._held)
        if text.endswith("�") and len(self._held) < self._HOLD:
            return ""
        return self._take(text)

    def flush(self) -> str:
        return self._take(self._decode(self._neighbours + self._held)) if self._held else ""

    def _decode(self, tokens: list[int]) -> str:
        return self._vocabulary.decode(tokens, special=self._special)

    def _take(self, text: str) -> str:
        new = text[len(self._shown) :]
        if new:
            self._neighbours = self._held
            self._shown = self._decode(self._neighbours)
        else:
            self._neighbours = self._neighbours + self._held
        self._held = []
        return new


def _byte_level_spelling(piece: str) -> bytes:
    try:
        return bytes(_BYTE_OF[char] for char in piece)
    except KeyError:
        return piece.encode()  # an added token, which is stored as plain text


def _plain_spelling(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself if printable, otherwise the next one from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
