"""What gateways follow and auditors read: the current state, the changes, and who made them."""

from __future__ import annotations

from adapters_registry.chain import verify
from adapters_registry.errors import AuditBroken
from adapters_registry.records import AuditPage, AuditReport, Changes, Snapshot
from adapters_registry.verbs.base import Verbs


class WatchVerbs(Verbs):
    """The change feed, which is the audit log."""

    def snapshot(self) -> Snapshot:
        with self.metadata.reading() as rows:
            return Snapshot(
                seq=rows.feed.seq(),
                adapters=rows.adapters.records(),
                keys=rows.keys.unrevoked(),
                head=rows.feed.head(),
                tenants=rows.tenants.quotas(),
            )

    def changes(self, since: int, head: str | None = None) -> Changes:
        """Changes after ``since`` (0: all), at once; ``head`` is the audit digest that came with ``since``.

        A registry restored from a backup may have reached ``since`` again with other changes; then ``head`` differs.
        """
        with self.metadata.reading() as rows:
            seq = rows.feed.seq()
            if since != 0 and not (rows.feed.first_seq() <= since <= seq and _same(rows.feed.head_at(since), head)):
                return Changes(seq=seq, adapters=(), reset=True)
            keys = rows.keys.unrevoked() if rows.feed.keys_touched(since) else None
            changed = rows.adapters.records(rows.feed.touched(since))
            tenants = rows.tenants.quotas() if rows.feed.tenants_touched(since) else None
            return Changes(seq=seq, adapters=changed, keys=keys, head=rows.feed.head(), tenants=tenants)

    def audit(self, after: int = 0, limit: int | None = None) -> AuditPage:
        """One page, oldest first; ``after`` is the ``next`` of the page before."""
        size = min(limit or self._limits.page, self._limits.page)
        with self.metadata.reading() as rows:
            found = rows.feed.entries(after, size + 1)
        return AuditPage(entries=tuple(found[:size]), next=found[size - 1].seq if len(found) > size else None)

    def verify_audit(self) -> AuditReport:
        """``AuditBroken`` names the first entry that differs from what was written."""
        with self.metadata.reading() as rows:
            count = rows.feed.seq() - rows.feed.first_seq()
            head = verify(rows.feed.all_entries())
            if head != rows.feed.head():
                raise AuditBroken("The audit's last entries are missing: the log was cut off.", param="seq")
        return AuditReport(entries=count, head=head)

    def ping(self) -> None:
        """Raises if the database does not answer."""
        with self.metadata.reading() as rows:
            rows.feed.seq()


def _same(here: str | None, there: str | None) -> bool:
    """Whether both are of one history; readers of earlier releases send no ``head``."""

    return there is None or here == there
