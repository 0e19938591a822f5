"""Encodes server-sent events."""

from __future__ import annotations

import json

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # proxies that buffer would hide the stream until its end
}
DONE = b"data: [DONE]\n\n"


def event(data: object) -> bytes:
    """One event with ``data`` as JSON, which contains no newline."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
