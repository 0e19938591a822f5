"""``quickchange chat`` in a pipe, against the real front: what it asks, says and records, and its exit codes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from service import cli
from service.chat.remote import FEEDBACK_OFF
from service.chat.screen import Plain
from service.chat.session import Options, Session
from service.commands.up import UpSettings
from tests.service.api.world import BASE_NAME
from tests.service.chat.site import BASE, MINE, STUCK, SUPPORT, Site
from tests.service.chat.site import site as serve


class Said(NamedTuple):
    code: int
    out: str
    err: list[str]


Chat = Callable[..., Said]


@pytest.fixture
def chat(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Chat:
    """Types lines into a chat with arguments."""

    def chat(url: str, *lines: str, arguments: tuple[str, ...] = ()) -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = cli.main(["chat", "--url", url, *arguments])
        out, err = capsys.readouterr()
        return Said(code, out, err.splitlines())

    return chat


def test_answers_are_stdout_and_all_else_stderr(site: Site, chat: Chat) -> None:
    said = chat(site.url, "hello", "", "and now?", arguments=("acme/support", "--system", "be brief"))
    assert said == (0, f"{SUPPORT}\n{SUPPORT}\n", ["acme/support@3", "acme/support@3"])
    begun = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert site.prompts() == [
        begun,
        f"{begun}{SUPPORT}<|im_end|>\n<|im_start|>user\nand now?<|im_end|>\n<|im_start|>assistant\n",
    ]


def test_without_a_name_the_base_answers(site: Site, chat: Chat) -> None:
    said = chat(site.url, "hello", arguments=("--temperature", "0", "--max-tokens", "2"))
    assert said.code == 0
    assert BASE.startswith(said.out.rstrip("\n"))
    assert said.err == [f"{BASE_NAME}, cut at the token limit"]
    sampling = site.engine.requests[0].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 2)


def test_another_adapter_takes_the_conversation_over(site: Site, chat: Chat) -> None:
    said = chat(site.url, "hello", "/adapter mine", "and you?", "/adapters")
    assert said.out == f"{BASE}\n{MINE}\n{BASE_NAME}\nacme/support\ndefault/mine\n"
    assert said.err == [BASE_NAME, "switched to mine (default/mine@1)", "default/mine@1"]
    assert f"{BASE}<|im_end|>\n<|im_start|>user\nand you?" in site.prompts()[1]


def test_undo_clear_and_system(site: Site, chat: Chat) -> None:
    lines = ["one", "two", "/undo", "three", "/clear", "/system be kind", "four", "/system", "five", "/quit", "six"]
    assert chat(site.url, *lines).code == 0
    prompts = site.prompts()
    assert len(prompts) == 5
    assert "one" in prompts[2]
    assert "two" not in prompts[2]
    assert prompts[3] == "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nfour<|im_end|>\n" + (
        "<|im_start|>assistant\n"
    )
    assert "system" not in prompts[4]


def test_judging_the_last_answer(site: Site, chat: Chat) -> None:
    said = chat(site.url, "hello", "/good", "/correct It is Paris.", "sure?", "/bad", arguments=("mine",))
    assert said.code == 0
    events = site.feedback()
    assert [(e["kind"], e["value"], e["source"]) for e in events] == [
        ("binary", True, "chat"),
        ("correction", "It is Paris.", "chat"),
        ("binary", False, "chat"),
    ]
    assert events[0]["target"] == events[1]["target"] != events[2]["target"]
    assert [f"recorded as {e['id']}" for e in events] == [line for line in said.err if line.startswith("recorded")]
    assert "It is Paris.<|im_end|>\n<|im_start|>user\nsure?" in site.prompts()[1]
    assert MINE not in site.prompts()[1]


@pytest.mark.parametrize(
    ("typed", "value"), [("a", "a"), ("b", "b"), ("t", "tie"), ("n", "both_bad"), ("", None), (None, None)]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_blind_comparison(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str | None,
    value: str | None,
    swapped: bool,
) -> None:
    lines = ["hello", "/compare acme/support mine"] + ([] if typed is None else [typed, "go on"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    session = Session(site.url, None, None, Options({}, lambda: swapped), Plain())
    assert session.run() == 0
    out, err = capsys.readouterr()
    a, b = (MINE, SUPPORT) if swapped else (SUPPORT, MINE)
    assert out.startswith(f"{BASE}\na:\n{a}\n\nb:\n{b}\n\n")
    names = ("default/mine@1", "acme/support@3") if swapped else ("acme/support@3", "default/mine@1")
    assert "sending your last message to both: hello" in err
    assert f"a was {names[0]}, b was {names[1]}" in err
    prompts = site.prompts()
    assert prompts[0] == prompts[1] == prompts[2]
    if typed is not None:
        going_on = {"a": a, "tie": a, "b": b}.get(value or "", BASE)
        assert f"{going_on}<|im_end|>\n<|im_start|>user\ngo on" in prompts[3]
    events = site.feedback()
    assert [event["value"] for event in events] == ([value] if value else [])
    for event in events:
        asked = {"acme/support@3": None, "default/mine@1": None} | {
            str(request.adapters): f"chatcmpl-{request.request_id}" for request in site.engine.requests[1:3]
        }
        assert event["kind"] == "preference"
        assert event["target"] == {
            "a": {"response_id": asked[names[0]], "choice": 0},
            "b": {"response_id": asked[names[1]], "choice": 0},
        }


def test_what_is_compared(site: Site, chat: Chat) -> None:
    open_ = ("--open",)
    said = chat(site.url, "/compare mine acme/support", "the next", "a", arguments=open_)
    assert said.out == f"a: mine:\n{MINE}\n\nb: acme/support:\n{SUPPORT}\n\n"
    assert said.err[0] == "the next message goes to both"
    said = chat(site.url, "hello", "/compare mine mine and this?", "n", arguments=open_)
    assert said.code == 0
    assert "user\nhello" in site.prompts()[-1]
    assert site.prompts()[-1].endswith("user\nand this?<|im_end|>\n<|im_start|>assistant\n")
    assert len(site.feedback()) == 2


@pytest.mark.parametrize(
    ("lines", "code", "told"),
    [
        (["/fly"], 2, "there is no /fly"),
        (["/good"], 2, "nothing has been answered yet"),
        (["/undo"], 2, "nothing has been answered yet"),
        (["/adapter nobody/none"], 1, "nobody/none"),
        (["/compare mine nobody/none"], 1, "nobody/none"),
        (["/compare mine mine hello", "left"], 2, "'left' is no verdict"),
    ],
)
def test_the_first_error_ends_a_pipe(site: Site, chat: Chat, lines: list[str], code: int, told: str) -> None:
    said = chat(site.url, *lines, "never asked")
    assert said.code == code
    assert said.err[-1].startswith("quickchange: ")
    assert told in said.err[-1]
    assert not any("never asked" in prompt for prompt in site.prompts())


def test_wrong_starts(site: Site, chat: Chat) -> None:
    assert chat(site.url, arguments=("nobody/none",)).code == 1
    said = chat(site.url, "hello", arguments=("--temperature", "9"))
    assert (said.code, said.out) == (1, "")
    assert "temperature" in said.err[0]
    nobody = "http://127.0.0.1:1"
    said = chat(nobody, "hello")
    assert said.code == 1
    assert said.err[0].startswith(f"quickchange: cannot reach {nobody} (")
    assert said.err[0].endswith("start it with `quickchange up`")
    assert chat("localhost:8000").code == 2


def test_a_registry_is_no_service(chat: Chat, tmp_path: Path) -> None:
    from adapters_registry.api.app import create_app
    from adapters_registry.feed import Feed
    from adapters_registry.opening import open_registry
    from adapters_registry.settings import Limits
    from tests.adapters_registry.conftest import serving

    feed = Feed()
    with (
        open_registry(tmp_path / "data", Limits(), feed.committed) as registry,
        serving(create_app(registry, feed, Limits())) as url,
    ):
        said = chat(url, "hello")
    assert said.code == 1
    assert "GET /v1/models" in said.err[0] or "is it the service's address?" in said.err[0]


def test_feedback_that_is_off_says_how_to_switch_it_on(tmp_path: Path, chat: Chat) -> None:
    with serve(tmp_path, feedback=False) as site:
        said = chat(site.url, "hello", "/good")
    assert (said.code, said.out) == (1, f"{BASE}\n")
    assert said.err[-1] == (
        "quickchange: feedback is off on this service: start it with `quickchange up --feedback.enabled`"
    )
    advice = FEEDBACK_OFF.partition("`quickchange up ")[2].rstrip("`").split()
    assert UpSettings(_cli_parse_args=advice).feedback.enabled


def test_ctrl_c_stops_the_answer_only(site: Site) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "chat", "--url", site.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"STOP\n")
    process.stdin.flush()
    assert process.stdout.read(len(STUCK)) == STUCK.encode()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(b"/adapters\nhello\n", timeout=60)
    assert process.returncode == 0, err
    assert out.decode() == f"\n{BASE_NAME}\nacme/support\ndefault/mine\n{BASE}\n"
    assert site.engine.closed == [site.engine.requests[0].request_id]  # the service has stopped too
    assert f"{STUCK}<|im_end|>\n<|im_start|>user\nhello" in site.prompts()[1]
    assert err.decode().splitlines()[0] == f"{BASE_NAME}, stopped"
