from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from adapters_registry import tables
from adapters_registry.database import OwnerLock, migrate, open_sqlite, translated
from adapters_registry.errors import StorageFailed, StorageFull, StoreOwned


def test_migrated_schema_is_the_metadata(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_migrated_twice_is_migrated_once(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    migrate(engine)
    engine.dispose()


def test_a_database_of_a_later_release_is_refused(tmp_path):
    open_sqlite(tmp_path / "r.db").dispose()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StorageFailed, match="not of this release"):
        open_sqlite(tmp_path / "r.db")


def test_every_commit_is_durable(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "truncate", "synchronous": 3, "foreign_keys": 1}


def test_foreign_keys_hold(tmp_path):
    engine = open_sqlite(tmp_path / "r.db")
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(tables.version_files.insert().values(version_id=1, path="x", blob="y"))
    engine.dispose()


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
