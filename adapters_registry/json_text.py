"""What a JSON text would cost to parse, judged from its bytes; both planes ask before they parse a body.

A parser makes an object of hundreds of bytes of every ``[]`` and ``{}`` and of every key, which a sender writes in
two to four bytes. So the number of nodes, that is lists, objects and keys, is bounded in proportion to the text, and
how deep they lie in each other. Numbers and strings grow far less, but a parser keeps Python's lock until it has read
all of them: their number is bounded too.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate

DEPTH = 64
"""Most levels of lists and objects."""
NODES = 8192
"""So many nodes are always allowed."""
NODE_BYTES = 8
"""Beyond them a text may have a node in so many bytes: ordinary ones have one in ten or more."""
VALUES = 1 << 18
"""So many values in lists and objects are always allowed: all the token ids of two prompts of 128k tokens."""
VALUE_BYTES = 16
"""Beyond them a text may have a value in so many bytes."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""One that does not end goes on to the end of the text: each byte is read once, whatever the text."""
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]|u(?![dD][89a-fA-F])|u[dD][89abAB]..\\u[dD][c-fC-F]))*+\\u[dD][89a-fA-F]", re.DOTALL
)


def objection(text: bytes) -> str | None:
    """Why ``text`` is not to be parsed, or None. Whether it is JSON at all is not looked at."""
    if _too_much(text) is None and text.count(b"[") + text.count(b"{") <= DEPTH:
        return None
    plain = _STRING.sub(b"", text)
    return _too_much(plain, len(text)) or _too_deep(plain)


def may_hold_lone_surrogate(text: bytes) -> bool:
    """Whether a string of ``text``, which must be JSON, has an escape that is half a character.

    None of its strings can be encoded as UTF-8 then.
    """
    return b"\\u" in text and _LONE_SURROGATE.match(text) is not None


def _too_much(plain: bytes, size: int | None = None) -> str | None:
    """``size`` is that of the whole text, where ``plain`` is what is left of it without strings."""
    size = len(plain) if size is None else size
    nodes, values = NODES + size // NODE_BYTES, max(VALUES, size // VALUE_BYTES)
    if plain.count(b"[") + plain.count(b"{") + plain.count(b":") > nodes:
        return f"it has over {nodes} lists, objects and keys"
    if plain.count(b",") > values:
        return f"it has over {values} values"
    return None


def _too_deep(plain: bytes) -> str | None:
    brackets = plain.translate(_STEPS, _OTHERS)
    # Where more is closed than was opened the text is no JSON: the parser refuses it there.
    steps = array("b", brackets[: 2 * (plain.count(b"[") + plain.count(b"{"))])
    return f"it nests over {DEPTH} levels deep" if max(accumulate(steps), default=0) > DEPTH else None
