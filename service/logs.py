"""Logs as JSON lines, each with the id of the request it belongs to."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that the current task works for."""

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        if current is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


def configure_logs(level: str, stream: TextIO = sys.stderr) -> None:
    """Send the ``service`` loggers to ``stream`` as JSON lines; ``level`` is a name of ``logging``'s.

    Calling it again replaces the handler. Foreign libraries' loggers are left as they are.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        JsonFormatter(_FIELDS, rename_fields={"asctime": "time", "levelname": "level", "name": "logger"})
    )
    handler.addFilter(_RequestId())
    logger = logging.getLogger("service")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
