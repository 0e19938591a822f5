"""Log lines are JSON and carry the request's id."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import LogOptions
from service.support import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("service")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    for handler in logger.handlers:
        handler.close()
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


def lines(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def test_files_are_bounded_and_private(tmp_path: Path) -> None:
    options = LogOptions(dir=tmp_path / "logs", file_bytes=4096, files=3)
    logs.open_logs("info", options, "gateway")
    for number in range(1000):
        logging.getLogger("service.x").info("line %d", number)
    found = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert found == ["gateway.lock", "gateway.log", "gateway.log.1", "gateway.log.2"]
    assert all(path.stat().st_size <= 4096 for path in (tmp_path / "logs").iterdir())
    assert (tmp_path / "logs").stat().st_mode & 0o077 == 0
    assert lines(tmp_path / "logs" / "gateway.log")[-1] == "line 999"


def test_each_process_has_a_file_and_a_dead_ones_is_taken_up(tmp_path: Path) -> None:
    options = LogOptions(dir=tmp_path)
    other = logs._Claimed(tmp_path, "replica", options)  # another replica, which lives
    logs.open_logs("info", options, "replica")
    logging.getLogger("service.x").info("second")
    assert lines(tmp_path / "replica-2.log") == ["second"]
    other.close()
    logs.open_logs("info", options, "replica")  # as in a replica that took the dead one's place
    logging.getLogger("service.x").info("first again")
    assert lines(tmp_path / "replica.log") == ["first again"]


def test_without_a_directory_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.open_logs("info", LogOptions(), "gateway")
    logging.getLogger("service.x").info("told")
    assert json.loads(capsys.readouterr().err)["message"] == "told"
