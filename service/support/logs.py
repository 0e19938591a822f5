"""Logs as JSON lines, each with the id of its request: in bounded files, or on a stream.

    DIRECTORY/
        up.log             events of `quickchange up`
        gateway.log        one line per request, and errors
        replica.log  replica-2.log …   recorder.log
        ray.log            output of Ray and its driver
        NAME.log.1 …       earlier files

Each process has a separate file: a second process of the same role takes the next free number.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from itertools import count
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from adapters_registry.support.lock import FileLock, Held
from service.settings import LogOptions

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that the current task works for."""

GATEWAY = "gateway"
_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        if current is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


class _Claimed(RotatingFileHandler):
    """A rotated log file that no other process writes while this one runs."""

    def __init__(self, directory: Path, role: str, options: LogOptions) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in count(1):
            path = directory / (f"{role}.log" if number == 1 else f"{role}-{number}.log")
            try:
                self._lock = FileLock(path.with_suffix(".lock"))
            except Held:
                continue
            super().__init__(path, maxBytes=options.file_bytes, backupCount=options.files - 1, encoding="utf-8")
            return

    def close(self) -> None:
        super().close()
        self._lock.release()


def request_log(options: LogOptions) -> Path | None:
    """The file with a line per request of a gateway; None if requests are logged to a stream."""
    return None if options.dir is None else options.dir / f"{GATEWAY}.log"


def configure_logs(level: str, stream: TextIO = sys.stderr) -> None:
    """Send the ``service`` loggers to ``stream`` as JSON lines; ``level`` is a name of ``logging``'s.

    Calling it again replaces the handler. Loggers of other libraries are not changed.
    """
    _configure(level, logging.StreamHandler(stream))


def open_logs(level: str, options: LogOptions, role: str) -> None:
    """As ``configure_logs``, to the file of this process's ``role``, or to stderr if no directory is set."""
    _configure(level, logging.StreamHandler() if options.dir is None else _Claimed(options.dir, role, options))


def _configure(level: str, handler: logging.Handler) -> None:
    handler.setFormatter(
        JsonFormatter(_FIELDS, rename_fields={"asctime": "time", "levelname": "level", "name": "logger"})
    )
    handler.addFilter(_RequestId())
    logger = logging.getLogger("service")
    for earlier in logger.handlers:
        earlier.close()
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
