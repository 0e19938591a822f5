"""The base class of the registry's and the service's errors."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound="CodedError")


class CodedError(Exception):
    """An error that the caller gets; ``code`` is stable and part of the API."""

    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field, file, tensor or module that caused it."""
        self.retry_after_s = retry_after_s


def tree(root: type[E]) -> list[type[E]]:
    """``root`` and every class below it, root first."""
    return [root] + [leaf for child in root.__subclasses__() for leaf in tree(child)]


def by_code(root: type[E], code: str, default: type[E]) -> type[E]:
    """The class below ``root`` that has ``code``, or ``default``."""
    return {cls.code: cls for cls in tree(root) if cls is not root}.get(code, default)
