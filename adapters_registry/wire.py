"""Shared by both clients: answers to values, failures to errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from adapters_registry.errors import (
    InsufficientScope,
    InvalidKey,
    Overloaded,
    RegistryError,
    RegistryUnavailable,
    StorageFailed,
    from_code,
)
from adapters_registry.support.loopback import is_loopback

M = TypeVar("M", bound=BaseModel)

_OF_HEAD: dict[int, type[RegistryError]] = {
    401: InvalidKey,
    403: InsufficientScope,
    429: Overloaded,
    503: StorageFailed,
}
"""The error for a status without a body that names one."""


def is_local(url: str) -> bool:
    """Whether ``url`` is on this machine: requests to it must not use a proxy from the environment."""
    return is_loopback(httpx.URL(url).host)


def bearer(key: str | None) -> dict[str, str]:
    """The headers with ``key``; empty without one."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def parse(model: type[M], answer: httpx.Response) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise RegistryError(f"{answer.url} did not answer as this release's registry does: {error}") from error


def check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    if answer.request.method == "HEAD" and (kind := _OF_HEAD.get(answer.status_code)):
        raise kind(f"{answer.url} was refused ({answer.status_code} {answer.reason_phrase}).")
    try:
        error = answer.json()["error"]
        code, message, param = str(error["code"]), str(error["message"]), error.get("param")
    except (ValueError, KeyError, TypeError):
        raise RegistryUnavailable(
            f"{answer.url} answered {answer.status_code}, not as a registry does: is it the registry's address?"
        ) from None
    after = answer.headers.get("retry-after", "")
    raise from_code(code, message, param=param, retry_after_s=float(after) if after.isdigit() else None)


@contextmanager
def translated(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise RegistryUnavailable(f"The registry at {url} does not answer ({why}).", retry_after_s=1) from error
