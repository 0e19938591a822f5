"""``quickchange chat`` on a terminal: a real pseudo-terminal with somebody who types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from service.chat.screen import harmless
from tests.service.api.world import BASE_NAME
from tests.service.chat.site import BASE, MINE, STUCK, Site

LIMIT_S = 60.0
_STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Person:
    """Types, and reads what the terminal showed since."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, awaited: str) -> str:
        """What came up to ``awaited``, without colours and cursor movements."""
        shown = b""
        while awaited not in (text := _STEERING.sub("", shown.decode(errors="replace"))):
            assert select.select([self._terminal], [], [], LIMIT_S)[0], f"{awaited!r} never came: {text!r}"
            shown += os.read(self._terminal, 4096)
        return text


@contextmanager
def chatting(*arguments: str) -> Iterator[tuple[Person, subprocess.Popen[bytes]]]:
    """A chat that controls a terminal of 80 by 24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "chat", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C goes to who controls it
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    try:
        yield Person(ours), process
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def chat(site: Site) -> Callable[..., object]:
    return lambda *arguments: chatting("--url", site.url, *arguments)


def test_a_conversation(chat, site: Site) -> None:
    with chat() as (person, _):
        assert "/help lists the commands" in person.until(f"{BASE_NAME}> ")
        person.type("hello\r")
        assert f"\n{BASE}\r\n{BASE_NAME}\r\n" in person.until(f"{BASE_NAME}> ").replace("\r\r", "\r")
        person.type("/fly\r")
        assert "there is no /fly" in person.until(f"{BASE_NAME}> ")
        person.type("/good\r")
        assert "recorded as fb-" in person.until(f"{BASE_NAME}> ")
        person.type("/help\r")
        assert "/compare A B [TEXT]" in person.until(f"{BASE_NAME}> ")
        person.type("\x1b[A\x1b[A\r")  # two lines up in the history: /good
        assert "recorded as fb-" in person.until(f"{BASE_NAME}> ")
        person.type("\x04")
    assert len(site.feedback()) == 2


def test_ctrl_c_stops_an_answer_and_drops_a_line(chat, site: Site) -> None:
    with chat("mine") as (person, process):
        person.until("mine> ")
        person.type("STOP\r")
        person.until(STUCK)
        person.type("\x03")
        assert "default/mine@1, stopped" in person.until("mine> ")
        person.type("half a line\x03")
        person.until("mine> ")
        assert process.poll() is None
        person.type("hello\r")
        assert MINE in person.until("mine> ")
        person.type("/quit\r")
    assert site.engine.closed == [site.engine.requests[0].request_id]


def test_names_are_hidden_until_judged(chat, site: Site) -> None:
    with chat() as (person, _):
        person.until("> ")
        person.type("/compare acme/support mine who are you?\r")
        person.until("who are you?\r\n")
        shown = person.until("better> ")
        assert "─ a ─" in shown
        assert "─ b ─" in shown
        assert "quick brown fox" in shown
        assert "Which is better?" in shown
        assert not re.search(r"acme/support|default/mine|@\d", shown)
        person.type("left\r")
        assert "'left' is no verdict" in person.until("better> ")
        person.type("b\r")
        assert re.search(r"a was (acme/support@3|default/mine@1), b was ", person.until(f"{BASE_NAME}> "))
        person.type("\x04")
    assert [event["value"] for event in site.feedback()] == ["b"]


def test_a_models_words_do_not_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\r\x07\x9bc\td\ne é 😀\u200d") == "a\ufffd[2Jb\ufffd\ufffd\ufffdc\td\ne é 😀\u200d"
