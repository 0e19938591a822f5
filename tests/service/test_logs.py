"""Log lines are JSON and carry the request's id."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("service")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, level, logger.propagate = before
    logger.setLevel(level)


def test_a_line_is_json_with_the_request_it_belongs_to() -> None:
    stream = io.StringIO()
    logs.configure_logs("info", stream)
    token = logs.request_id.set("r1")
    logging.getLogger("service.x").info("told", extra={"seconds": 1.5})
    logs.request_id.reset(token)
    logging.getLogger("service.x").debug("not told")
    logging.getLogger("service.x").error("outside")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time")
    assert first == {"level": "INFO", "logger": "service.x", "message": "told", "seconds": 1.5, "request_id": "r1"}
    assert "request_id" not in second


def test_configured_twice_it_tells_once() -> None:
    stream = io.StringIO()
    logs.configure_logs("info", stream)
    logs.configure_logs("info", stream)
    logging.getLogger("service.x").info("told")
    assert len(stream.getvalue().splitlines()) == 1
