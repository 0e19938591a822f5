"""The registry from a shell: ``python -m adapters_registry --data-dir D --host 127.0.0.1 --port P``."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType
from typing import Any

import uvicorn
from pydantic import ValidationError
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from adapters_registry.api.app import create_app
from adapters_registry.errors import RegistryError
from adapters_registry.feed import Feed
from adapters_registry.opening import open_registry
from adapters_registry.settings import RegistrySettings

DRAIN_S = 1
"""What requests under way get when the process is to stop; long-polls end at once."""


class _Server(uvicorn.Server):
    """Ends the long-polls as soon as it is told to stop: uvicorn itself would wait for them."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._feed.close()
        super().handle_exit(sig, frame)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    try:
        settings = _settings(sys.argv[1:] if arguments is None else arguments)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return 2
    _log_json(settings.log_level)
    feed = Feed()
    database_url = settings.database_url and settings.database_url.get_secret_value()
    try:
        with open_registry(settings.data_dir, settings.limits, feed.committed, database_url=database_url) as registry:
            app = create_app(registry, feed, settings.limits)
            return _serve(_Server(_config(app, settings), feed))
    except RegistryError as error:
        print(error.message, file=sys.stderr)
        return 1


def _settings(arguments: list[str]) -> RegistrySettings:
    options: dict[str, Any] = {"_cli_parse_args": arguments, "_cli_kebab_case": True}
    return RegistrySettings(_cli_prog_name="python -m adapters_registry", **options)


def _config(app: Any, settings: RegistrySettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
    )


def _serve(server: _Server) -> int:
    # uvicorn raises the signal again once it has stopped: by then all is closed, so it is a clean exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1


def _log_json(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    ignored = [*RESERVED_ATTRS, "color_message"]  # uvicorn's message again, with colours
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=ignored,
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")


if __name__ == "__main__":
    sys.exit(main())
