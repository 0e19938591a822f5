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
NODE_BYTES = 16
"""Beyond them a text may have a node in so many bytes."""
VALUES = 1 << 17
"""So many values in lists and objects are always allowed: the token ids of a prompt of 128k tokens."""
VALUE_BYTES = 16
"""Beyond them a text may have a value in so many bytes."""

_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]|u(?![dD][89a-fA-F])|u[dD][89abAB]..\\u[dD][c-fC-F]))*+\\u[dD][89a-fA-F]", re.DOTALL
)


def objection(text: bytes) -> str | None:
    """Why ``text`` is not to be parsed, or None. Whether it is JSON at all is not looked at."""
    nodes, values = NODES + len(text) // NODE_BYTES, max(VALUES, len(text) // VALUE_BYTES)
    if _nodes(text) <= nodes and text.count(b",") <= values and _opened(text) <= DEPTH:
        return None
    marked = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    if marked.count(b'"') > 2 * (nodes + values):  # keys and values: more strings than both are too many in any case
        return f"it has over {nodes + values} strings"
    plain = b"".join(marked.split(b'"')[::2])
    if _nodes(plain) > nodes:
        return f"it has over {nodes} lists, objects and keys"
    if plain.count(b",") > values:
        return f"it has over {values} values"
    return f"it nests over {DEPTH} levels deep" if _depth(plain) > DEPTH else None


def may_hold_lone_surrogate(text: bytes) -> bool:
    """Whether a string of ``text``, which must be JSON, has an escape that is half a character.

    None of its strings can be encoded as UTF-8 then.
    """
    return b"\\u" in text and _LONE_SURROGATE.match(text) is not None


def _nodes(text: bytes) -> int:
    return _opened(text) + text.count(b":")


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _depth(plain: bytes) -> int:
    """Of a text without strings."""
    # Where more is closed than was opened the text is no JSON: the parser refuses it there.
    brackets = plain.translate(_STEPS, _OTHERS)[: 2 * _opened(plain)]
    return max(accumulate(array("b", brackets)), default=0)
