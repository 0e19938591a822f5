"""What gateways follow and auditors read: the present state, what changed, and who changed it."""

from __future__ import annotations

from adapters_registry.chain import verify
from adapters_registry.errors import AuditBroken
from adapters_registry.records import AuditPage, AuditReport, Changes, Snapshot
from adapters_registry.verbs.base import Verbs


class WatchVerbs(Verbs):
    """The change feed, which is the audit."""

    def snapshot(self) -> Snapshot:
        with self.metadata.reading() as rows:
            return Snapshot(seq=rows.feed.seq(), adapters=rows.adapters.records(), keys=rows.keys.unrevoked())

    def changes(self, since: int) -> Changes:
        """What changed after ``since`` (0: since ever), at once."""
        with self.metadata.reading() as rows:
            seq = rows.feed.seq()
            if since != 0 and not rows.feed.first_seq() <= since <= seq:
                return Changes(seq=seq, adapters=(), reset=True)
            keys = rows.keys.unrevoked() if rows.feed.keys_touched(since) else None
            return Changes(seq=seq, adapters=rows.adapters.records(rows.feed.touched(since)), keys=keys)

    def audit(self, after: int = 0, limit: int | None = None) -> AuditPage:
        """One page, oldest first; ``after`` is the ``next`` of the page before."""
        size = min(limit or self._limits.page, self._limits.page)
        with self.metadata.reading() as rows:
            found = rows.feed.entries(after, size + 1)
        return AuditPage(entries=tuple(found[:size]), next=found[size - 1].seq if len(found) > size else None)

    def verify_audit(self) -> AuditReport:
        """``AuditBroken`` names the first entry that is not what was written."""
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
