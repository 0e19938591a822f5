"""Log-probabilities in OpenAI's two shapes, for chat and for completions."""

from __future__ import annotations

from service.api.text import ShownToken
from service.api.vocabulary import Vocabulary

UNLIKELY = -9999.0
"""OpenAI's value for very low log-probabilities; JSON has no infinity."""


def chat_logprobs(shown: tuple[ShownToken, ...], vocabulary: Vocabulary) -> dict[str, object]:
    """``{"content": [...], "refusal": null}``"""
    content = [
        _entry(one.token, one.logprob.logprob, vocabulary)
        | {"top_logprobs": [_entry(token, value, vocabulary) for token, value in one.logprob.top]}
        for one in shown
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(shown: tuple[ShownToken, ...], vocabulary: Vocabulary) -> dict[str, object]:
    """Parallel lists, one item per token; ``top_logprobs`` also has the chosen token."""
    return {
        "tokens": [_name(one.token, vocabulary) for one in shown],
        "token_logprobs": [max(one.logprob.logprob, UNLIKELY) for one in shown],
        "top_logprobs": [_top(one, vocabulary) for one in shown],
        "text_offset": [one.offset for one in shown],
    }


def _entry(token: int, logprob: float, vocabulary: Vocabulary) -> dict[str, object]:
    spelling = vocabulary.spelling(token)
    return {
        "token": spelling.decode("utf-8", "replace"),
        "logprob": max(logprob, UNLIKELY),
        "bytes": list(spelling),
    }


def _top(one: ShownToken, vocabulary: Vocabulary) -> dict[str, float]:
    likeliest = {_name(token, vocabulary): max(value, UNLIKELY) for token, value in reversed(one.logprob.top)}
    return likeliest | {_name(one.token, vocabulary): max(one.logprob.logprob, UNLIKELY)}


def _name(token: int, vocabulary: Vocabulary) -> str:
    """A token as a key. Parts of characters are written as bytes, because as text they would all be U+FFFD."""
    spelling = vocabulary.spelling(token)
    try:
        return spelling.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)
