"""Bounds what a JSON text costs to parse, judged by its bytes; both planes check this before they parse a body.

For each ``[]``, ``{}`` and key, which take two to four bytes to send, a parser creates an object of hundreds of
bytes. So the number of nodes (lists, objects and keys) is bounded in proportion to the text, and so is their depth.
Numbers and strings take far less memory, but a parser holds the GIL until it has read all of them: their number is
bounded too.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate

DEPTH = 64
"""Most levels of lists and objects."""
NODES = 8192
"""Number of nodes that is always allowed."""
NODE_BYTES = 16
"""Beyond ``NODES``, a text may have one node per this many bytes."""
VALUES = 1 << 17
"""Number of values in lists and objects that is always allowed: the token ids of a prompt of 128k tokens."""
VALUE_BYTES = 16
"""Beyond ``VALUES``, a text may have one value per this many bytes."""

_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]|u(?![dD][89a-fA-F])|u[dD][89abAB]..\\u[dD][c-fC-F]))*+\\u[dD][89a-fA-F]", re.DOTALL
)


def objection(text: bytes) -> str | None:
    """Why ``text`` must not be parsed, or None. Does not check whether it is valid JSON."""
    nodes, values = NODES + len(text) // NODE_BYTES, max(VALUES, len(text) // VALUE_BYTES)
    if _nodes(text) <= nodes and text.count(b",") <= values and _opened(text) <= DEPTH:
        return None
    marked = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    if marked.count(b'"') > 2 * (nodes + values):  # more strings than keys and values together: too many in any case
        return f"it has over {nodes + values} strings"
    plain = b"".join(marked.split(b'"')[::2])
    if _nodes(plain) > nodes:
        return f"it has over {nodes} lists, objects and keys"
    if plain.count(b",") > values:
        return f"it has over {values} values"
    return f"it nests over {DEPTH} levels deep" if _depth(plain) > DEPTH else None


def may_hold_lone_surrogate(text: bytes) -> bool:
    """Whether a string of ``text``, which must be JSON, has an escape that is half a surrogate pair.

    Such a string cannot be encoded as UTF-8.
    """
    return b"\\u" in text and _LONE_SURROGATE.match(text) is not None


def _nodes(text: bytes) -> int:
    return _opened(text) + text.count(b":")


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _depth(plain: bytes) -> int:
    """Depth of a text without strings."""
    # If more is closed than was opened the text is no JSON, and the parser refuses it.
    brackets = plain.translate(_STEPS, _OTHERS)[: 2 * _opened(plain)]
    return max(accumulate(array("b", brackets)), default=0)
