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
    """Whatever version the alias points at when the request is admitted."""

    alias: str


@dataclass(frozen=True, slots=True)
class ModelName:
    """An adapter as a request names it; the base itself is never one of these."""

    tenant: str | None
    """None: the caller's own."""
    adapter: str
    selector: Version | Exact | Alias = Alias(PRODUCTION)

    def __str__(self) -> str:
        """As ``parse_model`` reads it, the shortest way."""
        path = f"{self.tenant}/{self.adapter}" if self.tenant else self.adapter
        match self.selector:
            case Version(number):
                return f"{path}@{number}"
            case Exact(digest):
                return f"{path}@{digest}"
            case Alias(alias):
                return path if alias == PRODUCTION else f"{path}@{alias}"


def parse_model(model: str, base: str) -> ModelName | None:
    """What ``model`` names; None is the base itself. Raises ``ModelNotFound`` for what no model can be named.

    The served base's name is matched whole first, because it may itself hold colons and slashes.
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
    """A name that is unknown whatever its letters: clients ask for ``GPT-4`` as they ask for ``gpt-4``."""
    shown = model if len(model) <= 100 else model[:100] + "…"
    return ModelNotFound(
        f"The model {shown!r} does not exist or you do not have access to it: "
        "use [base:][tenant/]adapter[@version|@alias|@sha256:digest] in lower case, "
        "or the base's own name; GET /v1/models lists both",
        param="model",
    )
