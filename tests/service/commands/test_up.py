"""The options of ``quickchange up`` and what it says when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service.commands import obstacles
from service.commands import up as command
from service.settings import Settings


def options(*arguments: str) -> Settings:
    return command.UpSettings(_cli_parse_args=list(arguments))


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.up(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        group = getattr(field.annotation, "model_fields", None)
        for option in [f"{name}.{inner}" for inner in group] if group else [name]:
            assert f"--{option.replace('_', '-')}" in told


def test_options_go_before_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKCHANGE_PORT", "8011")
    monkeypatch.setenv("QUICKCHANGE_ENGINE__THREADS", "5")
    settings = options("--port", "8012", "--no-engine.prefix-cache")
    assert settings.port == 8012
    assert settings.engine.threads == 5
    assert settings.engine.prefix_cache is False


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--port", "0"], "--port"), (["--engine.threads", "none"], "--engine.threads"), (["--bogus", "1"], "--bogus")],
)
def test_a_wrong_option_is_named(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = command.up(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert named in capsys.readouterr().err


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(obstacles.CannotStart, match=f"{port}.*--port"):
            obstacles.need_port("127.0.0.1", port, "--port")


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    with (
        obstacles.only_one(tmp_path / "data"),
        pytest.raises(obstacles.CannotStart, match="another"),
        obstacles.only_one(tmp_path / "data"),
    ):
        pass
    with obstacles.only_one(tmp_path / "data"):
        pass


def test_the_address_shown_can_be_opened() -> None:
    assert command._url(options()) == "http://127.0.0.1:8000"
    assert command._url(options("--host", "::1", "--port", "1")) == "http://[::1]:1"
