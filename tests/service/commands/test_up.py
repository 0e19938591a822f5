"""The options of ``quickchange up`` and what it says when it cannot start."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters_registry.access import new_key
from service.base import PreparedBase
from service.commands import obstacles, program
from service.commands import up as command
from service.commands.welcome import gateway_url, welcome
from service.process import waiting
from service.settings import Settings


def options(*arguments: str) -> Settings:
    return command.UpSettings(_cli_parse_args=list(arguments))


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of something that answers every GET with ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


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
    assert command.up(arguments) == 2
    told = capsys.readouterr().err
    assert named in told
    assert len(told.splitlines()) == 1  # the reason, not all of the usage before it


def test_one_port_cannot_serve_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.up(["--port", "8300", "--registry-port", "8300"]) == 2
    assert "--port and --registry-port are both 8300" in capsys.readouterr().err


def test_the_help_shows_where_the_data_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.up(["--help"])
    told = "".join(capsys.readouterr().out.split())
    for name in ("data_dir", "cache_dir"):
        assert f"(default:{Settings.model_fields[name].get_default(call_default_factory=True)})" in told
    assert "lambda" not in told


def test_a_file_in_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(obstacles.CannotStart, match=f"--data-dir {path} cannot be used as a directory"):
            obstacles.need_directory(path, "--data-dir")
    obstacles.need_directory(tmp_path / "new" / "below", "--data-dir")
    assert not list((tmp_path / "new" / "below").iterdir())


@pytest.mark.parametrize("body", [b'{"status": "ok"}', b'{"instance": "aaaaaaaaaaaa"}', b"[]", b"hello"])
def test_another_registry_on_the_port_is_noticed(body: bytes) -> None:
    key = new_key()
    with answering(b'{"instance": "%s"}' % key.id.encode()) as url:
        assert waiting.foreign_registry(url, str(key)) is None
    with answering(body) as url:
        settings = Settings(registry_port=int(url.rpartition(":")[2]), registry_key=SecretStr(str(key)))
        with pytest.raises(obstacles.CannotStart, match=r"not the registry of this.*--registry-port"):
            obstacles.need_own_registry(settings)
    assert waiting.foreign_registry(url, str(key)) is None  # nobody answers any more


def test_hints_name_the_program_and_the_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    called = tmp_path / "bin" / "quickchange"
    called.parent.mkdir()
    called.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(called)])
    assert program.program() == "bin/quickchange"
    monkeypatch.setenv("PATH", str(called.parent))
    assert program.program() == "quickchange"
    monkeypatch.chdir(called.parent)
    monkeypatch.setattr(sys, "argv", ["/opt/x/service/__main__.py"])
    assert program.program() == f"{sys.executable} -m service"
    settings = options("--registry-port", "8101")
    base = PreparedBase("tiny", tmp_path)
    told = welcome(settings, base, tmp_path, 1.0, (), keyed=False)
    assert f"{sys.executable} -m service push PEFT_DIRECTORY default/NAME --registry http://127.0.0.1:8101" in told


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
    assert gateway_url(options()) == "http://127.0.0.1:8000"
    assert gateway_url(options("--host", "::1", "--port", "1")) == "http://[::1]:1"
