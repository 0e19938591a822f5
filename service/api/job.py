"""A job: a request with everything that is fixed at admission."""

from __future__ import annotations

from dataclasses import dataclass

from service.api.schemas import Message, Prompt
from service.api.text import Showing
from service.values import AdapterSet, GenerateRequest


@dataclass(frozen=True, slots=True)
class Served:
    """The weights that answer, as named in the response."""

    tenant: str
    """The tenant whose prefix cache and fair share the request uses; the adapter may be another tenant's."""
    adapters: AdapterSet
    model: str
    """``acme/support@3``, or the base's name."""
    digest: str
    fingerprint: str
    size_bytes: int = 0
    """Size of the adapters' files; 0: the base."""

    @property
    def headers(self) -> dict[str, str]:
        # Headers are latin-1; the name of a base from a local path may have any character.
        return {
            "x-adapter": self.model.encode("ascii", "backslashreplace").decode(),
            "x-adapter-digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a job: each prompt once, and all choices."""

    prompt: int
    completion: int
    cached: int
    """Prompt tokens from the prefix cache."""

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Job:
    """A request, with everything that is fixed at admission."""

    id: str
    created_s: int
    caller: str
    """The caller's tenant; the adapter may be another tenant's."""
    asked: tuple[tuple[Message, ...] | Prompt, ...]
    """The prompts as the client sent them."""
    base_digest: str
    served: Served
    requests: tuple[GenerateRequest, ...]
    """One per prompt; choice j of prompt i is choice i × n + j of the answer."""
    showing: Showing
    logprobs: bool
    include_usage: bool
    """Send usage once, at the end of a stream."""
    running_usage: bool
    """Send usage with every chunk."""
    deadline: float
    """On the event loop's clock."""

    @property
    def prompt_tokens(self) -> int:
        return sum(len(request.prompt) for request in self.requests)
