"""Waits for started processes; a signal can end the wait."""

from __future__ import annotations

import threading
import time

import httpx

from adapters_registry.access import parse_key

POLL_S = 0.1
ANSWER_S = 5.0


class Interrupted(Exception):
    """A signal was received before the service was ready."""


class CannotStart(Exception):
    """Something on this machine prevents the start; the message has the remedy."""


def await_answer(url: str, limit_s: float, stop: threading.Event, status: int | None = None) -> None:
    """Wait until ``url`` answers (with ``status``, if given). Raises ``Interrupted`` or ``CannotStart``."""
    deadline = time.monotonic() + limit_s
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, timeout=ANSWER_S, trust_env=False)
            if status in (None, answer.status_code):
                return
            last = f"{answer.status_code} {answer.text[:300]}"
        except httpx.TransportError as error:
            last = str(error)
        if stop.wait(POLL_S):
            raise Interrupted
    raise CannotStart(f"{url} is not well after {limit_s:g} s: {last}")


def foreign_registry(url: str, key: str | None) -> str | None:
    """A message if the process at ``url`` was not started with ``key``; None if it was, or nothing answers."""
    own = None if key is None else parse_key(key)
    try:
        told = httpx.get(f"{url}/health", timeout=ANSWER_S, trust_env=False).json()
    except httpx.TransportError:
        return None
    except ValueError:
        told = None
    if own is not None and isinstance(told, dict) and told.get("instance") == own.id:
        return None
    return f"what answers at {url} is not the registry of this `quickchange up`"


def answers(url: str, limit_s: float) -> bool:
    """Whether ``url`` answers 200 within ``limit_s``."""
    try:
        return httpx.get(url, timeout=limit_s, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
