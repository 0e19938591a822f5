"""A job: what answers, and everything about it that is fixed at admission."""

from __future__ import annotations

from dataclasses import dataclass

from service.api.schemas import Message, Prompt
from service.api.text import Showing
from service.values import AdapterSet, GenerateRequest


@dataclass(frozen=True, slots=True)
class Served:
    """Which weights answer: what the response says of them."""

    tenant: str
    """For whom it is asked: whose cache and fair share the request is of, whosever adapter answers."""
    adapters: AdapterSet
    model: str
    """``acme/support@3``, or the base's name."""
    digest: str
    fingerprint: str
    size_bytes: int = 0
    """Of the adapters' files; 0 is the base."""

    @property
    def headers(self) -> dict[str, str]:
        # Headers are latin-1; a base named by a local path may hold anything.
        return {
            "x-adapter": self.model.encode("ascii", "backslashreplace").decode(),
            "x-adapter-digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a job: each prompt once, those of every choice."""

    prompt: int
    completion: int
    cached: int
    """Of the prompt, those that were computed before."""

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Job:
    """Everything fixed at admission."""

    id: str
    created_s: int
    caller: str
    """The tenant that asks, whosever adapter answers."""
    asked: tuple[tuple[Message, ...] | Prompt, ...]
    """What each prompt was, in the client's words."""
    base_digest: str
    served: Served
    requests: tuple[GenerateRequest, ...]
    """One a prompt; choice j of prompt i is choice i × n + j of the answer."""
    showing: Showing
    logprobs: bool
    include_usage: bool
    """Sent once, at the end of a stream."""
    running_usage: bool
    """Sent with every chunk."""
    deadline: float
    """On the event loop's clock."""

    @property
    def prompt_tokens(self) -> int:
        return sum(len(request.prompt) for request in self.requests)
