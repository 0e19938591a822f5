"""Every change is in the audit with who made it, and a changed audit shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from adapters_registry import tables
from adapters_registry.access import Principal, Scope
from adapters_registry.chain import GENESIS, link, verify
from adapters_registry.errors import AuditBroken, GenerationMismatch
from adapters_registry.metadata import Change
from adapters_registry.records import AuditEntry, TenantBounds
from tests.adapters_registry import artifacts

ACME = ("acme", "support")
ANN = Principal("key-of-ann", "acme", frozenset({Scope.ADMIN}))
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def entries(count: int = 4) -> list[AuditEntry]:
    """A whole log."""
    made, prev = [], GENESIS
    for seq in range(1, count + 1):
        digest = link(prev, seq, MOMENT, "ann", "test", f"subject {seq}", None, None)
        entry = AuditEntry(
            seq=seq, at=MOMENT, actor="ann", action="test", subject=f"subject {seq}", prev=prev, digest=digest
        )
        made.append(entry)
        prev = digest
    return made


def told(registry) -> list[str]:
    """The audit after the base's entry, a line each."""
    return [
        f"{e.actor} {e.action} {e.subject} {e.alias or ''} {_without_digest(e.detail)}".strip()
        for e in registry.audit().entries[1:]
    ]


def _without_digest(detail: str | None) -> str:
    said = {} if detail is None else json.loads(detail)
    said.pop("digest", None)
    return " ".join(f"{key}={value}" for key, value in said.items())


def test_an_empty_log_is_whole():
    assert verify([]) == GENESIS


def test_the_end_is_the_last_digest():
    assert verify(entries()) == entries()[-1].digest


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "bob"},
        {"action": "other"},
        {"subject": "other"},
        {"alias": "production"},
        {"detail": "{}"},
        {"at": MOMENT + timedelta(microseconds=1)},
        {"seq": 9},
        {"prev": GENESIS},
        {"digest": GENESIS},
    ],
)
def test_whatever_of_an_entry_is_changed_shows(change):
    log = entries()
    log[2] = log[2].model_copy(update=change)
    with pytest.raises(AuditBroken, match=f"entry {log[2].seq} "):
        verify(log)


def test_an_entry_with_a_digest_that_fits_breaks_the_next():
    log = entries()
    forged = log[1].model_copy(update={"actor": "bob"})
    digest = link(forged.prev, forged.seq, forged.at, "bob", forged.action, forged.subject, None, None)
    log[1] = forged.model_copy(update={"digest": digest})
    with pytest.raises(AuditBroken, match="entry 3 "):
        verify(log)


@pytest.mark.parametrize("order", [(1, 2, 3), (0, 2, 3), (0, 2, 1, 3), (0, 1, 1, 2)])
def test_entries_removed_moved_or_repeated_show(order):
    log = entries()
    with pytest.raises(AuditBroken):
        verify([log[place] for place in order])


def test_the_time_zone_is_no_part_of_the_digest():
    local = MOMENT.astimezone(ZoneInfo("America/New_York"))
    naive = MOMENT.replace(tzinfo=None)
    assert {link(GENESIS, 1, at, "a", "b", "c", None, None) for at in (MOMENT, local, naive)} == {
        link(GENESIS, 1, MOMENT, "a", "b", "c", None, None)
    }


def test_every_change_is_told_with_who_made_it(registry, push):
    push(fill=0.1, by=ANN)
    push(fill=0.2, promote=True, by=ANN)
    registry.rollback(*ACME, by=ANN)
    registry.protect_alias(*ACME, "production", True, "safety", by=ANN)
    registry.evaluate(*ACME, 2, "safety", True, {"score": 0.5}, by=ANN)
    registry.move_alias(*ACME, "canary", 2, None, by=ANN)
    registry.delete_alias(*ACME, "canary", by=ANN)
    registry.delete_version(*ACME, 2, by=ANN)
    registry.share(*ACME, "globex", by=ANN)
    registry.unshare(*ACME, "globex", by=ANN)
    registry.put_tenant("acme", TenantBounds(max_versions=5), by=ANN)
    registry.delete_adapter(*ACME, by=ANN)
    assert told(registry) == [
        "key-of-ann version.publish acme/support@1",
        "key-of-ann alias.set acme/support production generation=1 version=1",
        "key-of-ann version.publish acme/support@2",
        "key-of-ann alias.set acme/support production generation=2 version=2",
        "key-of-ann alias.rollback acme/support production generation=3 version=1",
        "key-of-ann alias.protect acme/support production protected=True requires=safety",
        "key-of-ann version.evaluate acme/support@2  evaluation=safety passed=True",
        "key-of-ann alias.set acme/support canary generation=1 version=2",
        "key-of-ann alias.delete acme/support canary generation=2 version=None",
        "key-of-ann version.delete acme/support@2",
        "key-of-ann adapter.share acme/support  grantee=globex",
        "key-of-ann adapter.unshare acme/support  grantee=globex",
        "key-of-ann tenant.put acme  concurrent=None keep_days=None keep_versions=None max_bytes=None max_versions=5"
        " requests_per_min=None resident_bytes=None tokens_per_min=None",
        "key-of-ann alias.delete acme/support production",
        "key-of-ann adapter.delete acme/support",
    ]
    report = registry.verify_audit()
    assert (report.entries, report.head) == (16, registry.audit().entries[-1].digest)


def test_what_changes_nothing_or_fails_is_not_told(registry, push):
    push(fill=0.1)
    push(fill=0.1, promote=True)
    before = registry.audit()
    registry.put_base(artifacts.base())
    registry.protect_alias(*ACME, "production", False)
    registry.unshare(*ACME, "globex")
    registry.put_tenant("acme", TenantBounds())
    registry.collect()
    with pytest.raises(GenerationMismatch):
        registry.move_alias(*ACME, "production", 1, 7)
    assert registry.audit() == before


def test_pages_join_into_the_whole(registry, push):
    for fill in (0.1, 0.2, 0.3):
        push(fill=fill)
    whole, found, after = registry.audit(), [], 0
    while after is not None:
        page = registry.audit(after, 2)
        assert len(page.entries) <= 2
        found += page.entries
        after = page.next
    assert (tuple(found), whole.next) == (whole.entries, None)
    assert len(found) == 5


@pytest.mark.parametrize("column", ["actor", "action", "subject", "alias", "detail", "prev", "digest"])
def test_a_row_changed_behind_our_back_is_found(registry, push, engine, column):
    push()
    seq = registry.audit().entries[2].seq
    with engine.begin() as connection:
        connection.execute(tables.audit.update().where(tables.audit.c.seq == seq).values({column: "forged"}))
    with pytest.raises(AuditBroken, match=f"entry {seq} "):
        registry.verify_audit()


def test_a_log_cut_off_at_its_end_is_found(registry, push, engine):
    push()
    with engine.begin() as connection:
        last = sa.select(sa.func.max(tables.audit.c.seq)).scalar_subquery()
        connection.execute(tables.audit.delete().where(tables.audit.c.seq == last))
    with pytest.raises(AuditBroken, match="cut off"):
        registry.verify_audit()


def test_a_long_log_is_read_in_portions(registry, push):
    push()
    with registry.metadata.writing() as rows:
        for number in range(1100):
            rows.record(Change("test", str(number)))
    assert registry.verify_audit().entries == 1103
