"""What the services that announce a base can run: plain functions of what they said and when.

Services with the same base may have different engines, and a name resolves to the same version with all of them. So
an upload is taken if one of them, by itself, can run all of it; one that cannot refuses the version when it is asked
for it. The union of what they can run would let in what none can run, and the last announcement would depend on who
spoke last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from adapters_registry.capabilities import UNANNOUNCED
from adapters_registry.choosing import is_served
from adapters_registry.manifest import Capability

MOST = 16
"""Different ones kept of a base: services of one base differ by release and backend."""


class Announcement(BaseModel):
    """What one or more services of a base can run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    runs: tuple[Capability, ...] | None
    """Sorted; None of services of releases that do not say."""
    at: datetime
    """When it was last said."""

    @property
    def capabilities(self) -> frozenset[str]:
        return UNANNOUNCED if self.runs is None else frozenset(self.runs)


def with_announcement(
    before: Sequence[Announcement], runs: Sequence[str] | None, moment: datetime
) -> tuple[Announcement, ...]:
    """``before`` and one more, newest first; those of services that are silent are forgotten."""
    new = Announcement(runs=None if runs is None else tuple(sorted(set(runs))), at=moment)
    kept = [one for one in before if one.runs != new.runs and is_served(one.at, moment)]
    return (new, *kept)[:MOST]


def last_announced(announced: Sequence[Announcement], runs: Sequence[str] | None) -> datetime | None:
    """When exactly this was last said."""
    wanted = None if runs is None else tuple(sorted(set(runs)))
    return next((one.at for one in announced if one.runs == wanted), None)


def missing(needed: frozenset[str], announced: Sequence[Announcement], moment: datetime) -> frozenset[str]:
    """What the service that lacks least lacks of ``needed``; empty if one can run it."""
    return min((needed - able for able in _able(announced, moment)), key=len)


def read_format_1_only(announced: Sequence[Announcement], moment: datetime) -> bool:
    """Whether one of the services is of a release that says nothing, and reads no manifest of a later format."""
    return not announced or any(one.runs is None for one in _current(announced, moment))


def runs_of(announced: Sequence[Announcement], moment: datetime) -> tuple[str, ...] | None:
    """All that one or another of the services can run, sorted; None if none of them says."""
    capabilities = [one.runs for one in _current(announced, moment) if one.runs is not None]
    return tuple(sorted({capability for runs in capabilities for capability in runs})) if capabilities else None


def _able(announced: Sequence[Announcement], moment: datetime) -> Iterator[frozenset[str]]:
    if not announced:  # by a release that did not write down what was said
        yield UNANNOUNCED
    for one in _current(announced, moment):
        yield one.capabilities


def _current(announced: Sequence[Announcement], moment: datetime) -> Sequence[Announcement]:
    """Of the services that are there now; where none is, of those that were there last."""
    return [one for one in announced if is_served(one.at, moment)] or announced
