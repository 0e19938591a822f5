"""Real servers for tests, each in a temporary directory of its own and ended with the test session."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

START_S = 60.0


def find_postgresql() -> Path | None:
    """The directory that holds ``postgres`` and ``initdb``; None if they are not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    return next((path for path in [*reversed(installed), *on_path] if (path / "initdb").exists()), None)


class PostgreSQL:
    """A cluster that listens on a socket in its directory only. It forgets on power loss; a killed one recovers."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam(_unprivileged()) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = self._start("initdb", *options, "-D", str(directory / "data"))
        output, _ = done.communicate()
        assert done.returncode == 0, output.decode()

    def start(self) -> None:
        """Returns when it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._directory),
            "max_connections": "200",
            "shared_buffers": "32MB",
            "fsync": "off",
            "autovacuum": "off",
            "timezone": "America/New_York",  # so that code that leans on the server's zone shows
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._server = self._start("postgres", "-D", str(self._directory / "data"), *options)
        deadline = time.monotonic() + START_S
        while True:
            assert self._server.poll() is None, (self._directory / "log").read_text()
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self._directory / "log").read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        """At once, and every process of it: SIGQUIT is PostgreSQL's immediate shutdown, recovery follows at start."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            self._server = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._directory}"

    def make(self, options: str = "") -> str:
        """A new empty database's name; its text has an order unlike SQLite's, so that code that leans on it shows."""
        icu = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"  # PostgreSQL 15 is the first that can
        return self._create(f"TEMPLATE template0 {options or icu}")

    def copy(self, template: str) -> str:
        """A new database's name, with all that ``template`` holds."""
        return self._create(f'TEMPLATE "{template}"')

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """In a transaction of its own, if it may run in one; the rows, if it gives any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def _create(self, options: str) -> str:
        name = f"registry{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" {options}')
        return name

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self._directory / "log").open("ab") if program == "postgres" else subprocess.PIPE
        return subprocess.Popen(
            [str(self._programs / program), *arguments],
            cwd=self._directory,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=self._user.pw_uid,
            group=self._user.pw_gid,
            extra_groups=[] if os.geteuid() == 0 else None,
        )


@contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    """A running cluster; skips the test where PostgreSQL is not installed."""
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    directory = Path(tempfile.mkdtemp(prefix="qc-postgresql-"))  # short: a socket's path has at most 107 characters
    try:
        server = PostgreSQL(programs, directory)
        try:
            server.start()
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(directory)


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
