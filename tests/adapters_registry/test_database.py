"""What both databases must do, and what is SQLite's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from adapters_registry import tables
from adapters_registry.database import MIGRATIONS, OwnerLock, migrate, open_sqlite, translated
from adapters_registry.errors import StorageFailed, StorageFull, StoreOwned
from adapters_registry.metadata import Metadata
from adapters_registry.postgresql import open_postgresql
from adapters_registry.records import TenantRecord
from adapters_registry.registry import Registry
from adapters_registry.settings import Limits
from tests.adapters_registry import artifacts

Open = Callable[[], sa.Engine]
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
FIRST_BYTES = 1234


@pytest.fixture(params=["sqlite", "postgresql"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a database that is empty at first, as often as wished."""
    opened: list[sa.Engine] = []

    def open_again() -> sa.Engine:
        opened.append(open_sqlite(tmp_path / "r.db") if name is None else open_postgresql(server.url(name)))
        return opened[-1]

    server, name = None, None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        name = server.make()
    yield open_again
    for engine in opened:
        engine.dispose()
    if name is not None:
        server.drop(name)


def alembic(engine: sa.Engine, verb: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        verb(config, revision)


def insert_as_first_release(connection: sa.Connection, parent: str) -> None:
    """A tenant with one version, which its alias points at, in the first schema."""
    base, weights = artifacts.base(), artifacts.sha256(b"weights")
    manifest = artifacts.manifest()
    rows = {
        "feed": [{"id": 1, "first_seq": 100, "seq": 103}],
        "tenants": [{"id": 1, "name": "acme", "created_at": MOMENT}],
        "bases": [{"digest": base.digest, "name": "tiny", "manifest": base.model_dump_json(), "announced_seq": 101}],
        "blobs": [{"digest": weights, "size": FIRST_BYTES, "created_at": MOMENT}],
        "adapters": [{"id": 1, "tenant_id": 1, "name": "support", "next_number": 2, "created_at": MOMENT}],
        "versions": [
            {
                "id": 1,
                "adapter_id": 1,
                "number": 1,
                "digest": manifest.digest,
                "base": base.digest,
                "kind": "lora",
                "rank": 2,
                "size_bytes": FIRST_BYTES,
                "manifest": manifest.canonical_json().decode(),
                "lineage": json.dumps({"parent": parent}),
                "created_at": MOMENT,
            }
        ],
        "version_files": [{"version_id": 1, "path": "adapter_model.safetensors", "blob": weights}],
        "aliases": [{"adapter_id": 1, "alias": "production", "version_id": 1, "generation": 1}],
        "audit": [
            {"seq": 101, "action": "base.put", "subject": base.digest},
            {"seq": 102, "action": "version.publish", "subject": "acme/support@1", "adapter_id": 1, "version_id": 1},
            {
                "seq": 103,
                "action": "alias.set",
                "subject": "acme/support",
                "adapter_id": 1,
                "alias": "production",
                "version_id": 1,
            },
        ],
    }
    for name, values in rows.items():
        table = tables.metadata.tables[name]
        for row in values:
            told = row | ({"at": MOMENT, "actor": "anonymous"} if name == "audit" else {})
            columns = [sa.column(column, table.c[column].type) for column in told]
            connection.execute(sa.table(name, *columns).insert().values(told))


def test_migrated_schema_is_the_metadata(reopen):
    with reopen().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_migrated_twice_is_migrated_once(reopen):
    engine = reopen()
    migrate(engine)
    reopen()


def test_rows_of_the_first_release_are_carried_over(reopen):
    """An audit from before the chain is chained; parents that lineages told of are known."""
    engine, parent = reopen(), artifacts.sha256(b"parent")
    alembic(engine, command.downgrade, "0001")
    with engine.begin() as connection:
        insert_as_first_release(connection, parent)
    migrate(engine)
    registry = Registry(Metadata(engine), None, None, Limits())
    before = registry.verify_audit()
    assert (before.entries, before.head) == (3, registry.audit().entries[-1].digest)
    assert [(e.action, e.actor, e.detail) for e in registry.audit().entries] == [
        ("base.put", "anonymous", None),
        ("version.publish", "anonymous", None),
        ("alias.set", "anonymous", None),
    ]
    (adapter,) = registry.snapshot().adapters
    assert [version.number for version in adapter.versions] == [1]
    assert [(alias.alias, alias.generation, alias.protected) for alias in adapter.aliases] == [
        ("production", 1, False)
    ]
    (node,) = registry.lineage(adapter.versions[0].digest).nodes
    assert (node.parent, node.aliases) == (parent, ("production",))
    assert registry.tenant("acme") == TenantRecord(
        name="acme", created_at=MOMENT, used_bytes=FIRST_BYTES, used_versions=1
    )
    assert registry.holds("acme", artifacts.sha256(b"weights"))
    registry.evaluate("acme", "support", 1, "safety", True, {})
    assert registry.verify_audit().entries == 4, "and the chain goes on"


def test_every_migration_can_be_undone_and_done_again(reopen):
    engine = reopen()
    alembic(engine, command.downgrade, "base")
    with engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    migrate(engine)


def test_a_database_of_a_later_release_is_refused(reopen):
    with reopen().begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFailed, match="not of this release"):
        reopen()


def test_foreign_keys_hold(reopen):
    with pytest.raises(sa.exc.IntegrityError), reopen().begin() as connection, translated():
        connection.execute(tables.version_files.insert().values(version_id=1, path="x", blob="y"))


def test_times_come_back_in_utc(reopen):
    now = datetime.now(UTC)
    with reopen().connect() as connection:
        connection.execute(tables.tenants.insert().values(name="acme", created_at=now))
        found = tables.utc(connection.execute(sa.select(tables.tenants.c.created_at)).scalar_one())
    assert (found, found.utcoffset()) == (now, now.utcoffset())


def test_names_are_in_the_order_of_their_bytes(reopen):
    names = ["a-b", "a.b", "a0", "a_b", "aa", "ab", "b"]
    with reopen().connect() as connection:
        for name in reversed(names):
            connection.execute(tables.tenants.insert().values(name=name, created_at=datetime.now(UTC)))
        ordered = connection.execute(sa.select(tables.tenants.c.name).order_by(tables.tenants.c.name)).scalars()
        assert list(ordered) == names


def test_every_sqlite_commit_is_durable(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "truncate", "synchronous": 3, "foreign_keys": 1}


def test_a_full_disk_is_told_as_such(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    rows = [{"name": f"t{number}" * 10, "created_at": datetime.now(UTC)} for number in range(1000)]
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(StorageFull), translated():
            connection.execute(tables.tenants.insert(), rows)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.tenants)).scalar() == 0
    engine.dispose()


def test_a_damaged_file_is_told_as_such(tmp_path):
    (tmp_path / "r.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageFailed, match="not a database"):
        open_sqlite(tmp_path / "r.db")


def test_a_second_owner_is_refused_and_told_who_owns(tmp_path):
    lock = OwnerLock(tmp_path)
    code = (
        "import sys, pathlib; from adapters_registry.database import OwnerLock; OwnerLock(pathlib.Path(sys.argv[1]))"
    )
    second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "already uses" in second.stderr
    with pytest.raises(StoreOwned):
        OwnerLock(tmp_path)
    lock.release()
    OwnerLock(tmp_path).release()
