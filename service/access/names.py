"""The grammar of a request's model string: ``[base:][tenant/]adapter[@version|@alias|@sha256:…]``."""

from __future__ import annotations

from dataclasses import dataclass

from adapters_registry.names import PRODUCTION, is_alias, is_digest, is_version, take_apart
from service.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class Version:
    """A version by its number within the adapter: 1, 2, 3…"""

    number: int


@dataclass(frozen=True, slots=True)
class Exact:
    """A version by its manifest digest."""

    digest: str


@dataclass(frozen=True, slots=True)
class Alias:
    """The version that the alias points at when the request is admitted."""

    alias: str


@dataclass(frozen=True, slots=True)
class ModelName:
    """An adapter as named by a request; never the base."""

    tenant: str | None
    """None: the caller's tenant."""
    adapter: str
    selector: Version | Exact | Alias = Alias(PRODUCTION)

    def __str__(self) -> str:
        """The shortest form that ``parse_model`` reads."""
        path = f"{self.tenant}/{self.adapter}" if self.tenant else self.adapter
        match self.selector:
            case Version(number):
                return f"{path}@{number}"
            case Exact(digest):
                return f"{path}@{digest}"
            case Alias(alias):
                return path if alias == PRODUCTION else f"{path}@{alias}"


def parse_model(model: str, base: str) -> ModelName | None:
    """The adapter that ``model`` names; None: the base. Raises ``ModelNotFound`` for text that is no valid name.

    The served base's name is compared first, as a whole, because it may contain colons and slashes.
    """
    if model == base:
        return None
    named = take_apart(model.removeprefix(f"{base}:"))
    if named is None:
        raise _malformed(model)
    selector = Alias(PRODUCTION) if named.selector is None else _selector(named.selector, model)
    return ModelName(named.tenant, named.name, selector)


def _selector(text: str, model: str) -> Version | Exact | Alias:
    if is_version(text):
        return Version(int(text))
    if is_digest(text):
        return Exact(text)
    if is_alias(text):
        return Alias(text)
    raise _malformed(model)


def _malformed(model: str) -> ModelNotFound:
    """Invalid names are reported as unknown: for a client that sends ``GPT-4``, they are the same."""
    shown = model if len(model) <= 100 else model[:100] + "…"
    return ModelNotFound(
        f"The model {shown!r} does not exist or you do not have access to it: "
        "use [base:][tenant/]adapter[@version|@alias|@sha256:digest] in lower case, "
        "or the base's own name; GET /v1/models lists both",
        param="model",
    )
