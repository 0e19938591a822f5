"""Token ids to bytes and to text that grows: joined pieces equal the tokenizer's own decoding of all ids."""

from __future__ import annotations

import codecs
import re
from typing import Protocol

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Detokenizer(Protocol):
    """One choice's text as it grows."""

    def push(self, token: int) -> str:
        """The text that became certain with ``token``: empty while a character is incomplete."""
        ...

    def flush(self) -> str:
        """What was held back, at the end."""
        ...


class Vocabulary:
    """What the tokens of one base's tokenizer spell."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(token for token, one in added.items() if one.special)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._byte_level = isinstance(getattr(backend, "decoder", None), decoders.ByteLevel)
        # Worked out once: a quarter of a second for a hundred thousand tokens, then each look-up is free.
        self._pieces: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        spell = _byte_level_spelling if self._byte_level else _plain_spelling
        self._spellings = [b"" if piece is None else spell(piece) for piece in self._pieces]

    def detokenizer(self, *, special: bool = False) -> Detokenizer:
        """A fresh one for each choice. Special tokens have a text only where ``special`` says so."""
        return _Bytes(self, special) if self._byte_level else _Window(self, special)

    def is_special(self, token: int) -> bool:
        return token in self._special

    def spelling(self, token: int) -> bytes:
        """The bytes of one token by itself, also of a special one; empty for an id without a token."""
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
    """Byte-level BPE: every token is some bytes, so UTF-8's own state is all there is to keep."""

    def __init__(self, vocabulary: Vocabulary, special: bool) -> None:
        self._vocabulary = vocabulary
        self._special = special
        # Rust's lossy decoding and Python's "replace" put one U+FFFD for each maximal broken part.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        if not self._special and self._vocabulary.is_special(token):
            return ""
        return self._utf8.decode(self._vocabulary.spelling(token))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)


class _Window:
    """Any other tokenizer: decodes the last tokens with their left neighbour, and takes what is new.

    ``…| neighbour |held … token|``: the neighbour keeps a leading space that a decoder strips at the start.
    Tokens that stand for single bytes are held until their run ends, because one broken byte changes how
    the whole run is decoded.
    """

    _HOLD = 16
    """A character has at most four bytes: what still looks broken after so many tokens is broken."""

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
        return piece.encode()  # an added token, written as it is


def _plain_spelling(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: itself where printable, else counted up from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
