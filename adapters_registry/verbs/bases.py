"""Bases: announced repeatedly by services, named by pushes."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from pydantic import JsonValue

from adapters_registry.access import ANONYMOUS, Principal
from adapters_registry.announcing import last_announced, runs_of
from adapters_registry.choosing import is_served
from adapters_registry.errors import BaseNotFound
from adapters_registry.manifest import BaseManifest, BaseModule
from adapters_registry.records import BaseRecord
from adapters_registry.rows import Change, Rows
from adapters_registry.rows.values import now
from adapters_registry.verbs.base import Verbs

_TOUCH = timedelta(seconds=30)
"""Least time between two writes of when a base was last announced."""
_log = logging.getLogger(__name__)


class BaseVerbs(Verbs):
    """Verbs of bases, which uploads are checked against."""

    def put_base(self, manifest: BaseManifest, by: Principal = ANONYMOUS) -> None:
        """Announce ``manifest``. Repeated, it records only that the base is still served."""
        manifest, runs = manifest.model_copy(update={"runs": None}), manifest.runs
        digest = manifest.digest
        with self.metadata.reading() as rows:
            known, at = rows.bases.get(digest), rows.bases.announced_at(digest)
            announced_at = last_announced(rows.bases.announcements(digest), runs)
        if known is not None and known.name != manifest.name and is_served(at, now()):
            # If it is announced under two names at once, it keeps the first while that one is announced.
            if _is_old(announced_at):
                with self.metadata.writing() as rows:
                    rows.bases.record_announcement(digest, runs)
            return
        if known is not None and _is_repeated(manifest, known):
            if _is_old(at) or _is_old(announced_at):
                with self.metadata.writing() as rows:
                    rows.bases.touch(digest)
                    rows.bases.record_announcement(digest, runs)
            return
        with self._changing() as rows:
            detail: dict[str, JsonValue] = {"name": manifest.name}
            if shadowed := rows.adapters.named(manifest.name):
                detail["adapters_of_that_name"] = len(shadowed)
                _log.warning(
                    "a base has the name of adapters: the bare name means the base, and the adapters need their "
                    "tenant, an alias or a version in the name",
                    extra={"base": manifest.name, "adapters": list(shadowed)},
                )
            change = Change("base.put", digest, detail=detail)
            rows.bases.put(_merged(manifest, known), rows.record(change, actor=by.id))
            rows.bases.record_announcement(digest, runs)

    def base(self, digest: str) -> BaseManifest:
        """With everything that any of its services can run."""
        with self.metadata.reading() as rows:
            return base_of(rows, digest).model_copy(update={"runs": runs_of(rows.bases.announcements(digest), now())})

    def bases(self) -> tuple[BaseRecord, ...]:
        with self.metadata.reading() as rows:
            return rows.bases.all()


def base_of(rows: Rows, digest: str) -> BaseManifest:
    base = rows.bases.get(digest)
    if base is None:
        raise BaseNotFound(
            f"No base {digest!r} was announced: see GET /v1/bases, or start the service with it.", param="base"
        )
    return base


def _is_old(moment: datetime | None) -> bool:
    """Whether the time of an announcement must be written again."""
    return moment is None or now() - moment > _TOUCH


def _is_repeated(manifest: BaseManifest, known: BaseManifest) -> bool:
    """Services with other settings or releases may announce the same base at once, and must not fill the audit
    log."""
    return _merged(manifest, known).model_copy(update={"dtype": known.dtype}) == known


def _merged(manifest: BaseManifest, known: BaseManifest | None) -> BaseManifest:
    """``manifest``, with the weights' digests of an earlier announcement if it has none."""
    if known is None:
        return manifest
    modules = {name: _module(module, known.modules.get(name)) for name, module in manifest.modules.items()}
    return manifest.model_copy(update={"modules": modules})


def _module(module: BaseModule, known: BaseModule | None) -> BaseModule:
    if module.weight is not None or known is None or known.weight is None:
        return module
    return module.model_copy(update={"weight": known.weight})
