"""What is PostgreSQL's own: views, turns, waits, and a server or a connection that goes away."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import sqlalchemy as sa

from adapters_registry import tables
from adapters_registry.database import translated
from adapters_registry.errors import InvalidValue, Overloaded, StorageFailed, StorageFull
from adapters_registry.metadata import Change, Metadata
from adapters_registry.postgresql import CONNECTIONS, FURTHER, Waits, open_postgresql
from tests.adapters_registry import artifacts
from tests.adapters_registry.servers import postgresql_server

LONG_S = 60.0


@contextmanager
def opened(url: str, **waits: float) -> Iterator[Metadata]:
    metadata = Metadata(open_postgresql(url, Waits(**waits)))
    try:
        yield metadata
    finally:
        metadata.close()


@pytest.fixture
def metadata(database_url: str) -> Iterator[Metadata]:
    with opened(database_url) as metadata:
        yield metadata


def change(metadata: Metadata, subject: str = "x") -> int:
    """One more entry in the audit; its seq."""
    with metadata.writing() as rows:
        return rows.record(Change("test", subject))


def subjects(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT subject FROM audit ORDER BY seq")]


def end_connections(url: str) -> int:
    """Ends all others to the database, as a restart or an administrator does; how many."""
    with psycopg.connect(url) as connection:
        query = (
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(connection.execute(query).fetchall())


def await_waiter(url: str) -> None:
    """Until somebody waits for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1").fetchone() is None:
            pass


def test_sessions_are_durable_bounded_and_in_utc(postgresql):
    name = postgresql.make()
    postgresql.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    engine = open_postgresql(postgresql.url(name), Waits(statement_s=3, lock_s=2, idle_s=1))
    shown = {}
    with engine.connect() as connection:
        for setting in (
            "synchronous_commit",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "TimeZone",
            "transaction_isolation",
        ):
            shown[setting] = connection.exec_driver_sql(f"SHOW {setting}").scalar()
    engine.dispose()
    postgresql.drop(name)
    assert shown == {
        "synchronous_commit": "on",
        "statement_timeout": "3s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "1s",
        "TimeZone": "UTC",
        "transaction_isolation": "read committed",
    }


def test_a_stricter_durability_stays(postgresql):
    name = postgresql.make()
    postgresql.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = remote_apply')
    engine = open_postgresql(postgresql.url(name))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
    engine.dispose()
    postgresql.drop(name)


def test_what_the_url_says_of_the_connection_stays(database_url):
    engine = open_postgresql(f"{database_url}&application_name=mine")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "mine"
    engine.dispose()


def test_processes_that_start_at_once_migrate_once(postgresql):
    name = postgresql.make()
    code = (
        "import sys; from adapters_registry.metadata import Metadata; "
        "from adapters_registry.postgresql import open_postgresql; Metadata(open_postgresql(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", code, postgresql.url(name)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 4
    assert postgresql.execute("SELECT count(*) FROM feed", name) == [(1,)]
    postgresql.drop(name)


def test_feeds_started_at_once_are_one(postgresql, database_url):
    """The same moment, made certain: all have seen that there is none before the first makes it."""
    engine = open_postgresql(database_url)
    with engine.connect() as held:
        held.exec_driver_sql("LOCK TABLE feed IN SHARE MODE")  # looking goes on, making waits
        with ThreadPoolExecutor(2) as pool:
            starting = [pool.submit(Metadata, open_postgresql(database_url)) for _ in range(2)]
            with psycopg.connect(database_url, autocommit=True) as look:
                query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                while look.execute(query).fetchone() != (2,):
                    pass
            held.rollback()
            for start in starting:
                start.result(LONG_S).close()
        assert held.execute(sa.select(sa.func.count()).select_from(tables.feed)).scalar() == 1
    engine.dispose()


def test_a_reader_sees_one_state(metadata):
    with metadata.reading() as rows:
        before = rows.feed.seq()
        after = change(metadata)
        assert rows.feed.seq() == before
    with metadata.reading() as rows:
        assert rows.feed.seq() == after == before + 1


def test_a_reader_cannot_write(metadata):
    with pytest.raises(StorageFailed, match="read-only"), metadata.reading() as rows:
        rows.record(Change("test", "x"))


def test_a_writer_sees_what_was_written_while_it_waited(metadata, database_url):
    with opened(database_url) as other, ThreadPoolExecutor(1) as pool:
        with metadata.writing() as rows:
            waiting = pool.submit(change, other)
            await_waiter(database_url)
            seq = rows.record(Change("test", "x"))
        assert waiting.result(LONG_S) == seq + 1


def test_a_writer_does_not_wait_for_ever(database_url):
    with opened(database_url, lock_s=0.1) as metadata, psycopg.connect(database_url) as outsider:
        outsider.execute("SELECT * FROM feed FOR UPDATE")
        with pytest.raises(StorageFailed, match="lock timeout") as caught:
            change(metadata)
        assert caught.value.retry_after_s
        with metadata.reading() as rows:
            assert rows.feed.seq(), "readers need not wait for writers"
        outsider.rollback()
        change(metadata)


def test_a_statement_does_not_run_for_ever(database_url):
    engine = open_postgresql(database_url, Waits(statement_s=0.5))
    with pytest.raises(StorageFailed, match="statement timeout"), translated(), engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(60)")
    engine.dispose()


def test_a_frozen_writer_loses_its_turn(metadata, database_url):
    def freeze(frozen: Metadata) -> None:
        with frozen.writing() as rows:
            rows.record(Change("test", "frozen"))
            change(metadata, "next")  # waits until the frozen one was thrown out
            rows.record(Change("test", "frozen again"))

    with opened(database_url, idle_s=1) as frozen:
        with pytest.raises(StorageFailed):
            freeze(frozen)
        assert subjects(database_url) == ["next"]
        change(frozen, "thawed")
    assert subjects(database_url) == ["next", "thawed"]


def test_more_requests_than_connections_are_told_to_come_back(database_url):
    engine = open_postgresql(database_url, Waits(connection_s=0.1))
    held = [engine.connect() for _ in range(CONNECTIONS + FURTHER)]
    with pytest.raises(Overloaded), translated():
        engine.connect()
    for connection in held:
        connection.close()
    with translated(), engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()


def test_connections_lost_between_requests_are_made_anew(metadata, database_url):
    change(metadata)
    assert end_connections(database_url)
    change(metadata)
    assert end_connections(database_url)
    with metadata.reading() as rows:
        assert rows.feed.seq()


def test_a_connection_lost_within_a_change_leaves_nothing_of_it(metadata, database_url):
    def lose(*later: str) -> None:
        with metadata.writing() as rows:
            rows.record(Change("test", "first half"))
            assert end_connections(database_url)
            for subject in later:
                rows.record(Change("test", subject))

    for later in (["second half"], []):  # lost at a statement, and at the commit
        with pytest.raises(StorageFailed) as caught:
            lose(*later)
        assert caught.value.retry_after_s
    assert subjects(database_url) == []
    change(metadata, "later")
    assert subjects(database_url) == ["later"]


def test_a_deadlock_ends_one_and_may_be_repeated(metadata, database_url):
    """Ours cannot meet one: they take one lock. An administrator's session with two may."""
    with psycopg.connect(database_url) as outsider, ThreadPoolExecutor(1) as pool:
        outsider.execute("SET deadlock_timeout = '1h'")  # so that ours is the one that ends
        outsider.execute("LOCK TABLE tenants IN EXCLUSIVE MODE")

        def embrace() -> None:
            with metadata.writing() as rows:
                pool.submit(outsider.execute, "UPDATE feed SET seq = seq")
                await_waiter(database_url)
                rows.adapters.add(rows.tenants.make("acme"), "support")

        with pytest.raises(StorageFailed, match="deadlock") as caught:
            embrace()
        assert caught.value.retry_after_s
        pool.shutdown()
        outsider.rollback()
    change(metadata)


def test_two_states_that_do_not_fit_may_be_repeated(metadata, database_url):
    engine = open_postgresql(database_url).execution_options(isolation_level="REPEATABLE READ")

    def overtaken() -> None:
        with translated(), engine.begin() as connection:
            connection.execute(sa.select(tables.feed.c.seq))
            change(metadata)
            connection.execute(tables.feed.update().values(seq=0))

    with pytest.raises(StorageFailed, match="concurrent update") as caught:
        overtaken()
    assert caught.value.retry_after_s
    engine.dispose()


def test_a_full_disk_is_told_as_such(metadata, database_url):
    """The server's own code for it, raised by a trigger: its disk cannot be filled here without filling ours."""
    with psycopg.connect(database_url) as outsider:
        outsider.execute(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file'; END $$"
        )
        outsider.execute("CREATE TRIGGER fill AFTER INSERT ON audit EXECUTE FUNCTION fill()")
    with pytest.raises(StorageFull):
        change(metadata)
    with psycopg.connect(database_url) as outsider:
        outsider.execute("DROP TRIGGER fill ON audit")
    change(metadata, "space again")
    assert subjects(database_url) == ["space again"]


def test_a_value_that_no_column_takes_is_the_callers_fault(metadata):
    with pytest.raises(InvalidValue, match="NUL"), metadata.reading() as rows:
        rows.bases.get("tiny\0")
    with pytest.raises(InvalidValue, match="too long"), metadata.writing() as rows:
        rows.adapters.add(rows.tenants.make("acme"), "x" * 64)


def test_a_killed_server_is_an_outage_and_no_loss():
    with postgresql_server() as server:
        url = server.url(server.make())
        with opened(url) as metadata:
            change(metadata, "before")
            server.kill()
            for _ in range(2):
                with pytest.raises(StorageFailed) as caught, metadata.reading() as rows:
                    rows.feed.seq()
                assert caught.value.retry_after_s
            with pytest.raises(StorageFailed):
                change(metadata, "meanwhile")
            server.start()
            change(metadata, "after")
        assert subjects(url) == ["before", "after"]


@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1:1/none", "postgresql://me:secret@[/none"])
def test_a_database_that_cannot_be_reached_does_not_tell_the_password(url):
    with pytest.raises(StorageFailed) as caught:
        open_postgresql(url)
    assert "secret" not in caught.value.message


def test_a_database_of_another_encoding_is_refused(postgresql):
    name = postgresql.make("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(StorageFailed, match="ENCODING 'UTF8'"):
        open_postgresql(postgresql.url(name))
    postgresql.drop(name)


def test_bases_announced_at_once_are_all_kept(metadata, database_url):
    """First writes of the same rows by two processes: one inserts, the other finds."""
    with opened(database_url) as other:
        start = threading.Barrier(8)

        def make(number: int) -> None:
            start.wait()
            with (metadata, other)[number % 2].writing() as rows:
                manifest = artifacts.base(f"base{number // 2}", str(number // 2))
                rows.bases.put(manifest, rows.record(Change("base.put", manifest.digest)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(8)))
        with other.reading() as rows:
            assert sorted(base.name for base in rows.bases.all()) == ["base0", "base1", "base2", "base3"]
