"""What the services that announce a base can run: plain functions of the announcements and their times.

Services with the same base may have different engines, and a name resolves to the same version on all of them. So an
upload is accepted if one service alone can run all of it; a service that cannot refuses requests for this version.
The union of all capabilities would accept adapters that no service can run, and using the last announcement would
make the result depend on the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from adapters_registry.capabilities import UNANNOUNCED
from adapters_registry.choosing import is_served
from adapters_registry.manifest import Capability

MOST = 16
"""Bound on different announcements kept per base; services of a base differ by release and backend."""


class Announcement(BaseModel):
    """What one or more services of a base can run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    runs: tuple[Capability, ...] | None
    """Sorted; None for releases that do not announce it."""
    at: datetime
    """Time of the last announcement."""

    @property
    def capabilities(self) -> frozenset[str]:
        return UNANNOUNCED if self.runs is None else frozenset(self.runs)


def with_announcement(
    before: Sequence[Announcement], runs: Sequence[str] | None, moment: datetime
) -> tuple[Announcement, ...]:
    """``before`` and one more, newest first; those of services that are no longer served are dropped."""
    new = Announcement(runs=None if runs is None else tuple(sorted(set(runs))), at=moment)
    kept = [one for one in before if one.runs != new.runs and is_served(one.at, moment)]
    return (new, *kept)[:MOST]


def last_announced(announced: Sequence[Announcement], runs: Sequence[str] | None) -> datetime | None:
    """When exactly these capabilities were last announced."""
    wanted = None if runs is None else tuple(sorted(set(runs)))
    return next((one.at for one in announced if one.runs == wanted), None)


def missing(needed: frozenset[str], announced: Sequence[Announcement], moment: datetime) -> frozenset[str]:
    """The needs that the best service lacks; empty if one can run the adapter."""
    return min((needed - able for able in _able(announced, moment)), key=len)


def read_format_1_only(announced: Sequence[Announcement], moment: datetime) -> bool:
    """Whether one of the services is of a release that announces nothing and reads only manifests of format 1."""
    return not announced or any(one.runs is None for one in _current(announced, moment))


def runs_of(announced: Sequence[Announcement], moment: datetime) -> tuple[str, ...] | None:
    """Everything that any of the services can run, sorted; None if no service announces it."""
    capabilities = [one.runs for one in _current(announced, moment) if one.runs is not None]
    return tuple(sorted({capability for runs in capabilities for capability in runs})) if capabilities else None


def _able(announced: Sequence[Announcement], moment: datetime) -> Iterator[frozenset[str]]:
    if not announced:  # by a release that did not store announcements
        yield UNANNOUNCED
    for one in _current(announced, moment):
        yield one.capabilities


def _current(announced: Sequence[Announcement], moment: datetime) -> Sequence[Announcement]:
    """Announcements of the services that run now; if none runs, those of the last ones."""
    return [one for one in announced if is_served(one.at, moment)] or announced
