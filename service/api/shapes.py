"""The differences between the two endpoints' answers."""

from __future__ import annotations

from typing import Protocol

from service.api.job import Usage
from service.api.logprobs import chat_logprobs, completion_logprobs
from service.api.text import Delta
from service.api.vocabulary import Vocabulary


class Shape(Protocol):
    """The form of a choice, whole and in a stream. ``logprobs``: whether they were requested."""

    whole_object: str
    chunk_object: str

    def whole(self, delta: Delta, logprobs: bool) -> dict[str, object]:
        """A choice in a non-streamed answer; ``delta`` is all of it."""
        ...

    def chunks(self, delta: Delta, logprobs: bool, first: bool) -> list[dict[str, object]]:
        """A choice in one or more chunks; ``first``: nothing of it was sent before."""
        ...


def usage_object(usage: Usage) -> dict[str, object]:
    """OpenAI's ``usage``."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


class Chat:
    """``/v1/chat/completions``: the role first, then content, then an empty delta with the reason."""

    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def whole(self, delta: Delta, logprobs: bool) -> dict[str, object]:
        return {
            "index": delta.index,
            "message": {"role": "assistant", "content": delta.text, "refusal": None},
            "logprobs": chat_logprobs(delta.logprobs, self._vocabulary) if logprobs else None,
            "finish_reason": delta.finish,
        }

    def chunks(self, delta: Delta, logprobs: bool, first: bool) -> list[dict[str, object]]:
        parts: list[dict[str, object]] = []
        if first:
            parts.append(self._chunk(delta.index, {"role": "assistant", "content": ""}))
        if delta.text or delta.logprobs:
            shown = chat_logprobs(delta.logprobs, self._vocabulary) if logprobs else None
            parts.append(self._chunk(delta.index, {"content": delta.text}, shown))
        if delta.finish:
            parts.append(self._chunk(delta.index, {}, finish=delta.finish))
        return parts

    def _chunk(
        self, index: int, delta: dict[str, str], logprobs: object = None, finish: str | None = None
    ) -> dict[str, object]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


class Completion:
    """``/v1/completions``: chunks look like the whole answer."""

    whole_object = "text_completion"
    chunk_object = "text_completion"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def whole(self, delta: Delta, logprobs: bool) -> dict[str, object]:
        return {
            "index": delta.index,
            "text": delta.text,
            "logprobs": completion_logprobs(delta.logprobs, self._vocabulary) if logprobs else None,
            "finish_reason": delta.finish,
        }

    def chunks(self, delta: Delta, logprobs: bool, first: bool) -> list[dict[str, object]]:
        return [self.whole(delta, logprobs)]
