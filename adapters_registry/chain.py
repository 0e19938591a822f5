"""The audit log's chain: each entry's digest covers the entry and the digest before it (a hash chain: RFC 6962 §2's
leaves without the tree, since the log is short and always read from its beginning)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from adapters_registry.errors import AuditBroken
from adapters_registry.records import AuditEntry

GENESIS = "sha256:" + "0" * 64
"""The digest before the first entry."""


def link(
    prev: str, seq: int, at: datetime, actor: str, action: str, subject: str, alias: str | None, detail: str | None
) -> str:
    """The digest of one entry."""
    moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    entry = [prev, seq, moment.isoformat(timespec="microseconds"), actor, action, subject, alias, detail]
    return "sha256:" + hashlib.sha256(json.dumps(entry, separators=(",", ":")).encode()).hexdigest()


def verify(entries: Iterable[AuditEntry], prev: str = GENESIS) -> str:
    """The last digest of ``entries``, oldest first; ``AuditBroken`` names the first entry that does not match."""
    for entry in entries:
        found = link(prev, entry.seq, entry.at, entry.actor, entry.action, entry.subject, entry.alias, entry.detail)
        if entry.prev != prev or entry.digest != found:
            raise AuditBroken(f"Audit entry {entry.seq} is not what was written: the log was changed.", param="seq")
        prev = entry.digest
    return prev
