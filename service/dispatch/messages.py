"""A feed's messages as bytes: length [4 bytes, big-endian], then events in msgpack."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgpack

from service.errors import ReplicaFailed
from service.values import Event, FinishReason, TokenLogprob

logger = logging.getLogger(__name__)

MOST_MESSAGE = 64 << 20
"""Bound on a message's bytes; a longer one is invalid."""
MESSAGE_EVENTS = 4096
"""Bound on a message's events, so that the backlog of a slow gateway stays below ``MOST_MESSAGE``."""


def encode(events: Sequence[Event]) -> bytes:
    """One message. An event that cannot be encoded is replaced by a failure of its choice, so that others arrive."""
    try:
        body: bytes = msgpack.packb([_fields(event) for event in events])
    except Exception:
        logger.exception("an event cannot be written; its request fails")
        body = msgpack.packb([_fields(_writable(event)) for event in events])
    return len(body).to_bytes(4, "big") + body


def decode(body: bytes | bytearray | memoryview) -> list[Event]:
    """The events of a message without its length. Raises ``ReplicaFailed`` if it is invalid."""
    try:
        return [_event(*fields) for fields in msgpack.unpackb(body, use_list=False)]
    except Exception as error:  # msgpack's and Python's errors, depending on the bytes
        raise ReplicaFailed("The replica sent what is no message.") from error


def _fields(event: Event) -> tuple[object, ...]:
    """The fields of an event, without its failure, which is not sent."""
    return event[:-1]


def _writable(event: Event) -> Event:
    try:
        msgpack.packb(_fields(event))
    except Exception:
        return Event(event.request_id, event.choice, finish=FinishReason.FAILED)
    return event


def _event(
    request_id: str,
    choice: int,
    tokens: tuple[int, ...],
    logprobs: tuple[tuple[float, tuple[tuple[int, float], ...]], ...],
    finish: str | None,
    cached_tokens: int,
    stop_token: int | None,
) -> Event:
    logprobs_read = tuple(TokenLogprob(*one) for one in logprobs)
    reason = FinishReason(finish) if finish else None
    return Event(request_id, choice, tokens, logprobs_read, reason, cached_tokens, stop_token)


def take_messages(unread: bytearray) -> list[list[Event]]:
    """Removes complete messages from the front of ``unread``. Raises ``ReplicaFailed`` if they are invalid."""
    found, at = [], 0
    while len(unread) - at >= 4:
        length = int.from_bytes(unread[at : at + 4], "big")
        if length > MOST_MESSAGE:
            raise ReplicaFailed(f"The replica announced a message of {length} bytes.")
        if len(unread) - at < 4 + length:
            break
        found.append(decode(bytes(unread[at + 4 : at + 4 + length])))
        at += 4 + length
    del unread[:at]
    return found
