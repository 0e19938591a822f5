"""The registry from a shell.

    python -m adapters_registry --data-dir D --port P               serve; without a key to this machine only
    python -m adapters_registry create-admin-key --data-dir D       print a new admin key, once
    python -m adapters_registry --data-dir D --host 0.0.0.0         serve other machines; every client needs a key
    python -m adapters_registry reopen --data-dir D                 allow requests without keys, after all were lost

The second also helps operators that lost all admin keys; with SQLite the registry must not run meanwhile. On the same
machine, ``POST /v1/keys`` to a registry without keys creates the first key too.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import uvicorn
from pydantic import Field, ValidationError
from pydantic_settings import SettingsError
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from adapters_registry.access import Scope, parse_key
from adapters_registry.api.app import create_app
from adapters_registry.api.edge import WithIds
from adapters_registry.collector import COLLECTOR, collecting
from adapters_registry.edge.bounds import bounds
from adapters_registry.edge.listener import Listener
from adapters_registry.errors import InvalidValue, KeyNeeded, RegistryError
from adapters_registry.feed import Feed
from adapters_registry.keys import LOST, Keys
from adapters_registry.mark import KeyMark
from adapters_registry.opening import open_registry
from adapters_registry.registry import Registry
from adapters_registry.settings import RegistrySettings
from adapters_registry.support.loopback import listens_on_loopback
from adapters_registry.support.threads import NO_THREAD, is_no_thread

CREATE_KEY = "create-admin-key"
REOPEN = "reopen"
DRAIN_S = 1
"""Time that requests in progress get when the process stops; long-polls end at once."""


class _Server(uvicorn.Server):
    """Ends the long-polls as soon as it is stopped: uvicorn itself would wait for them."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._feed.close()
        super().handle_exit(sig, frame)


class _KeyOptions(RegistrySettings):
    """Options of ``create-admin-key``: the registry's location, and the name of the key."""

    key_name: str = Field("operator", pattern=r"^[ -~]{1,128}$")


S = TypeVar("S", bound=RegistrySettings)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, create a key, or allow requests without keys again; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == [CREATE_KEY]:
            return _create_key(_settings(_KeyOptions, given[1:]))
        if given[:1] == [REOPEN]:
            return _reopen(_settings(RegistrySettings, given[1:]))
        return _run(_settings(RegistrySettings, given))
    except ValidationError as error:
        first = error.errors()[0]
        print(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except RegistryError as error:
        print(error.message, file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        print(NO_THREAD, file=sys.stderr)
        return 1


def _run(settings: RegistrySettings) -> int:
    _log_json(settings.log_level)
    feed = Feed()
    here = _is_loopback(settings.host)
    with _opened(settings, feed) as registry:
        mark = _mark(settings)
        if not here and not Keys(registry.metadata).exist():
            raise KeyNeeded(
                LOST
                if mark.is_set
                else f"On {settings.host} other machines could do anything with this registry, as it has no key yet. "
                f"Make one first: python -m adapters_registry {CREATE_KEY}, with the same options."
            )
        service_key = None if settings.service_key is None else parse_key(settings.service_key.get_secret_value())
        app = create_app(
            registry,
            feed,
            settings.limits,
            anonymous=here,
            service_key=service_key,
            mark=mark,
            cors_origins=settings.cors_origins,
        )
        gc.freeze()  # otherwise a collection during a large body would examine all modules and block for 0.1 s
        with collecting(lambda: registry.collect(dry_run=False, by=COLLECTOR), settings.collect_every_s):
            return _serve(_Server(_config(app, settings), feed))


def _create_key(settings: _KeyOptions) -> int:
    with _opened(settings, Feed()) as registry:
        print(Keys(registry.metadata, mark=_mark(settings)).create(None, settings.key_name, [Scope.ADMIN]).key)
    return 0


def _reopen(settings: RegistrySettings) -> int:
    """Remove the mark that keys existed, for a registry that does not run and whose database has no keys."""
    with _opened(settings, Feed()) as registry:
        if Keys(registry.metadata).exist():
            raise InvalidValue(
                "This registry has keys. Where nobody holds one that can make others: "
                f"python -m adapters_registry {CREATE_KEY}, with the same options."
            )
        _mark(settings).remove()
    print("without a key, every caller on this machine has full access again", file=sys.stderr)
    return 0


def _mark(settings: RegistrySettings) -> KeyMark:
    return KeyMark(settings.data_dir, *([] if settings.mark_dir is None else [settings.mark_dir]))


@contextmanager
def _opened(settings: RegistrySettings, feed: Feed) -> Iterator[Registry]:
    url = None if settings.database_url is None else settings.database_url.get_secret_value()
    with open_registry(
        settings.data_dir, settings.limits, feed.committed, database_url=url, blobs_url=settings.blobs_url
    ) as registry:
        yield registry


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Text that is no address is left to the listener, which reports it."""
    try:
        return listens_on_loopback(host)
    except (OSError, ValueError):
        return False


def _settings(kind: type[S], arguments: list[str]) -> S:
    options: dict[str, Any] = {"_cli_parse_args": arguments, "_cli_kebab_case": True}
    return kind(_cli_prog_name="python -m adapters_registry", **options)


def _config(app: Any, settings: RegistrySettings) -> uvicorn.Config:
    return Listener(bounds(settings.connections, settings.limits.header_bytes)).configure(
        app,
        host=settings.host,
        port=settings.port,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=DRAIN_S,
    )


def _serve(server: _Server) -> int:
    # uvicorn raises the signal again after it has stopped. Everything is closed then, so this is a clean exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1


def _log_json(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    ignored = [*RESERVED_ATTRS, "color_message"]  # uvicorn's message a second time, with colours
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=ignored,
        )
    )
    handler.addFilter(WithIds())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")


if __name__ == "__main__":
    sys.exit(main())
