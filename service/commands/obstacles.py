"""What prevents ``quickchange up`` on this machine or at the registry, checked before anything is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters_registry.client import AsyncRegistryClient
from adapters_registry.errors import InsufficientScope, InvalidKey, KeysLost, RegistryUnavailable
from adapters_registry.support.lock import FileLock, Held
from adapters_registry.support.loopback import listens_on_loopback
from service.access.keyring import LOST
from service.access.marks import key_mark
from service.base import find_bundled
from service.commands.program import program
from service.process.waiting import CannotStart, foreign_registry
from service.settings import BUNDLED_BASE, Settings


def listens_beyond(host: str) -> bool:
    """Whether other machines can reach ``host``."""
    try:
        return not listens_on_loopback(host)
    except (OSError, ValueError) as error:
        raise CannotStart(f"--host {host} is no address of this machine ({error})") from error


def need_good_key(settings: Settings, say: Callable[[str], None], *, beyond: bool) -> None:
    """Check that the registry, if it answers, accepts our key, and that it has keys if we listen ``beyond`` loopback.

    A registry that has lost its keys is reported. Like one that is down, it does not delay the start: the gateway
    uses the keys that it knows, or rejects all requests.
    """
    try:
        keys = asyncio.run(_keys(settings))
    except RegistryUnavailable:
        return
    except KeysLost:
        say(LOST)
        return
    except (InvalidKey, InsufficientScope) as error:
        raise CannotStart(
            f"the registry at {settings.registry} refuses the key of QUICKCHANGE_REGISTRY_KEY: give one with "
            f"the scope serve ({error.message})"
        ) from error
    if not keys and key_mark(settings).is_set:
        say(LOST)
    elif beyond and not keys:
        raise CannotStart(
            f"--host {settings.host} can be reached from other machines, and there are no API keys yet: start on "
            f"127.0.0.1, make an admin key ({program()} keys create --help), and start again"
        )


async def _keys(settings: Settings) -> int:
    """How many API keys there are."""
    async with AsyncRegistryClient(settings.registry, key=settings.registry_bearer) as registry:
        return len((await registry.snapshot()).keys)


def need_own_registry(settings: Settings) -> None:
    """Check that the process on the registry's port was started with our key and is not a foreign registry."""
    if (foreign := foreign_registry(settings.registry, settings.registry_bearer)) is not None:
        raise CannotStart(f"{foreign}; choose another --registry-port")


def need_bundled_base(settings: Settings) -> None:
    """Check that the bundled base's package is installed if needed; ``BaseUnavailable`` names the command."""
    if settings.base == BUNDLED_BASE:
        find_bundled()


def need_port(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another {option}"
            ) from error


def need_directory(path: Path, option: str) -> None:
    """Create ``path`` if it is missing, and check that it is writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CannotStart(
            f"{option} {path} cannot be used as a directory ({error.strerror}); choose another"
        ) from error


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Lock ``data_dir`` for this process. The lock ends with the process, also after a crash."""
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(data_dir / "up.lock")
    except Held as error:
        raise CannotStart(
            f"another `quickchange up` uses {data_dir}; stop it or choose another --data-dir"
        ) from error
    with lock:
        yield
