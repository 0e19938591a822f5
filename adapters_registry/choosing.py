"""Which announced base a push is checked against: the one that it names, that its config names, or the only one.

Equal shapes prove nothing: a base and its instruct variant have the same shapes. So with several bases nothing is
guessed, and the order of announcements has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from adapters_registry.errors import BaseMismatch, BaseNotFound, BaseNotNamed
from adapters_registry.manifest import Digest

ALIVE = timedelta(seconds=150)
"""How long after an announcement a base counts as served; services announce it every 15 s."""
_QUANTISED = ("-unsloth-bnb-4bit", "-bnb-4bit", "-bnb-8bit")
"""Suffixes of quantised copies of a base, used in training; the adapters are served on the base itself."""
_SHOWN = 8


class KnownBase(BaseModel):
    """A base that some service announced."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Digest
    name: str
    served: bool
    """Announced recently."""


class Bases(BaseModel):
    """Bases that a push may be checked against."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    known: tuple[KnownBase, ...] = ()
    """Most recently announced with new contents first; if empty, the given base is used without a check."""
    requested: Digest | None = None
    """The base that the push names."""


UNCHECKED = Bases()
"""The given base is used even if the config names another one."""


class OtherBase(Exception):
    """The config names another base than the given one; ``digest`` is the other base's."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


def is_served(announced_at: datetime | None, now: datetime) -> bool:
    return announced_at is not None and now - announced_at <= ALIVE


def names(path: str, base: str) -> bool:
    """Whether ``path``, a directory or an id of the Hub, may mean the base of this name: same last component."""
    return _last(path) == _last(base)


def named(path: object, known: Sequence[KnownBase]) -> list[KnownBase]:
    """The bases that the config's ``base_model_name_or_path`` may mean."""
    return [base for base in known if names(path, base.name)] if isinstance(path, str) and path else []


def requested_base(reference: str, known: Sequence[KnownBase]) -> KnownBase:
    """The base with this digest or name; raises ``BaseNotFound``."""
    found = [base for base in known if reference in (base.digest, base.name)]
    if not found:
        raise BaseNotFound(
            f"No base {reference!r} was announced: see GET /v1/bases, or start the service with it.", param="base"
        )
    return _one(found)


def first_guess(known: Sequence[KnownBase]) -> KnownBase:
    """The base to start with, before the config is read."""
    if not known:
        raise BaseNotFound(
            "No base was announced yet: start the service on this registry first, then push.", param="base"
        )
    return next((base for base in known if base.served), known[0])


def only(known: Sequence[KnownBase]) -> KnownBase | None:
    """The base for a push that names none; None if several are possible."""
    served = [base for base in known if base.served] or known
    return served[0] if len(served) == 1 else None


def choose(path: object, known: Sequence[KnownBase]) -> KnownBase:
    """The base for a config that names ``path``, if the push names none."""
    meant = named(path, known)
    if not meant:
        found = only(known)
        if found is None:
            raise BaseNotNamed(
                f"This registry has several bases, and the config names none of them ({_shown(path)}): push with "
                f"--base NAME (base), one of {_listed(known)}.",
                param="base",
            )
        return found
    found = _one(meant)
    served = [base for base in known if base.served]
    if served and not found.served:
        raise BaseMismatch(
            f"The config names {_shown(path)}, which is known as {found.name} and served by nobody now; served is "
            f"{_listed(served)}. Push with --base NAME (base) to say which one it is for.",
            param="base_model_name_or_path",
        )
    return found


def _one(found: Sequence[KnownBase]) -> KnownBase:
    """Of several bases of one name: the one that is served, otherwise the last that was announced with new
    contents."""
    served = [base for base in found if base.served]
    if len(served) > 1:
        raise BaseNotNamed(
            f"Several bases go by that name: push with --base DIGEST (base), one of {_listed(served)}.", param="base"
        )
    return (served or found)[0]


def _last(name: str) -> str:
    """The last part of a path or an id, also in the Hub's cache (``models--OWNER--NAME/snapshots/COMMIT``)."""
    steps = [step for step in name.casefold().replace("\\", "/").split("/") if step]
    cached = next((step for step in steps if step.startswith("models--")), None)
    last = cached.rpartition("--")[2] if cached else (steps[-1] if steps else "")
    return next((last.removesuffix(suffix) for suffix in _QUANTISED if last.endswith(suffix)), last)


def _shown(path: object) -> str:
    return repr(path[:100]) if isinstance(path, str) and path else "no base"


def _listed(bases: Sequence[KnownBase]) -> str:
    shown = ", ".join(f"{base.name} ({base.digest})" for base in bases[:_SHOWN])
    return shown if len(bases) <= _SHOWN else f"{shown} and {len(bases) - _SHOWN} more"
