"""The systemd unit: systemd reads it without a complaint and finds it well confined; its options are ours."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from service.settings import Settings
from tests.deploy.tools import DEPLOY, run, tool

UNIT = DEPLOY / "quickchange.service"
PROGRAM = "/opt/quickchange/bin/quickchange"
EXPOSURE = 20
"""Of 100, systemd's own measure: below 2.0 it calls a unit OK."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there, since systemd looks."""
    text = UNIT.read_text()
    assert text.count(PROGRAM) == 1
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(PROGRAM, tool("true", "coreutils")))
    return copy


def test_systemd_reads_it(installed: Path) -> None:
    assert _complaints(installed) == []


def test_a_mistake_is_found(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KillMode=mixd"))
    (complaint,) = _complaints(installed)
    assert "mixd" in complaint


def test_it_is_confined(installed: Path) -> None:
    analyze = tool("systemd-analyze", "Debian package systemd")
    run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", str(installed))


def _complaints(unit: Path) -> list[str]:
    """What systemd says of the unit: its exit status tells only of the worst."""
    analyze = tool("systemd-analyze", "Debian package systemd")
    command = [analyze, "verify", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said or done.returncode == 0, done.stderr
    return said


def test_its_options_are_settings() -> None:
    names = re.findall(r"QUICKCHANGE_(\w+)=", UNIT.read_text())
    assert {name.lower() for name in names} == {"data_dir", "cache_dir"}
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_a_stop_has_time_to_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    assert int(unit["Service"]["TimeoutStopSec"].removesuffix("s")) > 15
