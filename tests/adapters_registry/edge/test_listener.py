"""The listener on real sockets: what every sort of connection gets, and that the others are served meanwhile."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters_registry.edge.connections import Reason
from adapters_registry.edge.listener import HEADERS, PIPELINED
from tests.adapters_registry.edge.wire import (
    QUICK,
    Server,
    error,
    eventually,
    is_closed,
    request,
    rest,
    serving,
    status,
    whole,
)

LIMIT = QUICK.header_bytes
ENDLESS = {
    "a request line": (b"GET /", b"a"),
    "a header's name": (b"GET / HTTP/1.1\r\n", b"a"),
    "a header's value": (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: ", b"a"),
    "many small headers": (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"a: b\r\n"),
    "a folded header": (b"GET / HTTP/1.1\r\nx-a: b\r\n", b" b\r\n"),
    "empty lines": (b"", b"\r\n"),
    "a method": (b"", b"G"),
}
BEGUN = {
    "a trailer": (b"5\r\nhello\r\n0\r\nx-a: ", b"a"),
    "many trailers": (b"5\r\nhello\r\n0\r\n", b"a: b\r\n"),
    "a chunk's extension": (b"5;x=", b"a"),
    "a chunk's size": (b"", b"0"),
}
CHUNKED = request("/", "transfer-encoding: chunked", method="POST")


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """For tests that leave nothing behind and count nothing."""
    with serving(replace(QUICK, total=200, per_loopback=200)) as server:
        yield server


def pour(server: Server, head: bytes, more: bytes) -> tuple[int, bytes]:
    """Bytes sent until the server would have no more of them, and what it said."""
    sent = 0
    with server.connect(head) as line:
        piece = more * (16384 // len(more))
        try:
            while sent < 64 << 20:
                line.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent, rest(line)


def trickle(line: socket.socket) -> None:
    """A byte now and then until the other side has closed: each is one more, and no reason to wait longer."""
    try:
        while True:
            line.sendall(b"a")
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize("what", ENDLESS)
def test_a_head_without_end_costs_its_bound(shared: Server, what: str) -> None:
    sent, answer = pour(shared, *ENDLESS[what])
    assert sent < 16 << 20  # what the system's buffers take, and what is thrown away so that the answer arrives
    assert status(answer) in (0, 400, 431)  # 0: it was still sending
    assert shared.get() == 200


@pytest.mark.parametrize("what", BEGUN)
def test_nor_does_what_frames_a_body(shared: Server, what: str) -> None:
    head, more = BEGUN[what]
    sent, answer = pour(shared, CHUNKED + head, more)
    assert sent < 16 << 20
    assert status(answer) in (0, 400, 431)
    assert shared.get() == 200


def test_the_refusal_says_why(shared: Server) -> None:
    for head in (
        request("/" + "a" * LIMIT),
        request("/", "x: " + "y" * LIMIT),
        request("/", *["a: b"] * (HEADERS + 1)),
        request("/", "x: " + "y" * LIMIT, "content-length: 5", method="POST", body=b"hello"),
    ):
        answer = shared.ask(head)
        assert (status(answer), error(answer)) == (431, "headers_too_large")
        assert b"connection: close" in answer
        assert b"x-should-retry: false" in answer


def test_a_head_within_the_bound_is_served_however_it_is_cut(shared: Server) -> None:
    whole = request("/fine", "x: " + "y" * (LIMIT - 200), "connection: close")
    for size in (1, 7, 1000, len(whole)):
        with shared.connect() as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(whole), size):
                line.sendall(whole[at : at + size])
            assert status(rest(line)) == 200


def test_a_large_body_with_small_chunks_is_served(shared: Server) -> None:
    """What frames them is many times the bound."""
    body = b"1\r\na\r\n" * 20_000 + b"0\r\nx-trailer: t\r\n\r\n"
    answer = shared.ask(request("/", "transfer-encoding: chunked", "connection: close", method="POST", body=body))
    assert b'"body": 20000' in answer


def test_trailers_are_no_headers(shared: Server) -> None:
    body = b"1\r\na\r\n0\r\nauthorization: Bearer late\r\n\r\n"
    shared.ask(request("/trailed", "transfer-encoding: chunked", "connection: close", method="POST", body=body))
    [scope] = [scope for scope in shared.app.seen if scope["path"] == "/trailed"]
    assert b"authorization" not in dict(scope["headers"])


def test_silent_ones_are_closed_and_half_a_head_is_told() -> None:
    with serving() as server:
        silent, half, trickling = server.connect(), server.connect(b"GET / HTTP/1.1\r\nx: "), server.connect(b"GET /")
        with silent, half, trickling:
            trickle(trickling)
            assert rest(silent) == b""
            answer = rest(half)
            assert (status(answer), error(answer)) == (408, "request_timeout")
        server.until(0)
        assert server.refused(Reason.HEAD_TIMEOUT) == 3


def test_one_that_asked_may_be_idle_for_a_while_and_is_then_closed() -> None:
    with serving(replace(QUICK, head_s=0.2, idle_s=1.0)) as server, server.connect(request("/a")) as line:
        assert status(whole(line)) == 200
        time.sleep(0.5)  # longer than a head may take
        line.sendall(request("/b"))
        assert status(whole(line)) == 200
        assert rest(line) == b""
        assert server.listener.report().refused == {}


def test_bytes_of_a_body_that_nobody_reads_keep_no_connection() -> None:
    with serving() as server, server.connect(request("/unread", "content-length: 100000", method="POST")) as line:
        assert status(whole(line)) == 200
        trickle(line)
        server.until(0)


def test_silent_ones_make_room_for_those_who_ask() -> None:
    """The oldest goes first; one that has a request under way stays."""
    with serving(replace(QUICK, head_s=60, idle_s=60)) as server:
        busy = server.connect(request("/slow"))
        eventually(lambda: len(server.app.seen) == 1)
        idle = server.connect(request("/kept"))
        assert status(whole(idle)) == 200
        silent = []
        for _ in range(QUICK.per_loopback - 2):
            silent.append(server.connect())
            server.until(2 + len(silent))
        for _ in range(3):
            assert server.get() == 200
            server.until(QUICK.per_loopback - 1)  # it went, and the next one finds its place
        assert [is_closed(line) for line in silent] == [True] + [False] * 5
        silent += [server.connect() for _ in range(5)]
        eventually(lambda: [is_closed(line) for line in silent] == [True] * 5 + [False] * 6)
        assert server.refused(Reason.MADE_ROOM) == 5
        assert not is_closed(idle)
        server.app.release.set()
        assert status(whole(busy)) == 200
        for line in (busy, idle, *silent):
            line.close()


def test_with_all_places_busy_a_newcomer_is_refused_at_once() -> None:
    with serving() as server:
        busy = [server.connect(request("/slow")) for _ in range(QUICK.per_loopback)]
        eventually(lambda: len(server.app.seen) == QUICK.per_loopback)
        assert server.ask(request("/")) == b""
        assert server.refused(Reason.ADDRESS_FULL) == 1
        with socket.create_connection(("127.0.0.1", server.port), 20, ("127.0.0.2", 0)) as other:
            other.sendall(request("/", "connection: close"))
            assert status(rest(other)) == 200  # another address has places still
        server.app.release.set()
        for line in busy:
            assert status(whole(line)) == 200
            line.close()
        server.until(0)
        assert server.get() == 200


def test_all_addresses_together_have_a_bound() -> None:
    with serving(replace(QUICK, total=6, per_loopback=4, head_s=60)) as server:
        lines = []
        for at in range(12):
            source = (f"127.0.0.{2 + at % 4}", 0)
            lines.append(socket.create_connection(("127.0.0.1", server.port), 20, source))
            eventually(lambda at=at: server.listener.report().open == min(at + 1, 6))
        assert server.get() == 200
        for line in lines:
            line.close()


def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    with serving() as server:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        with line:
            line.sendall(request("/flood"))
            eventually(lambda: server.refused(Reason.STALLED) == 1)
            server.until(0)


def test_one_that_reads_slowly_gets_all_of_it() -> None:
    with serving(replace(QUICK, stall_s=0.3)) as server, server.connect(request("/flood", version="1.0")) as line:
        got = 0
        while piece := line.recv(1 << 17):
            got += len(piece)
            time.sleep(0.0005)
        assert got > 1000 << 16
        assert server.refused(Reason.STALLED) == 0


def test_one_that_is_closed_but_never_takes_the_rest_is_gone_too() -> None:
    with serving() as server:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        with line:
            line.sendall(request("/flood", "connection: close"))
            server.until(1)
            server.until(0)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, "malformed_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed_request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "malformed_request"),
        (b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n", "malformed_request"),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "malformed_request"),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "malformed_request"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", "malformed_request"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "malformed_request"),
        (b"hello\r\n\r\n", "malformed_request"),
    ],
)
def test_what_is_no_http(shared: Server, sent: bytes, code: str) -> None:
    answer = shared.ask(sent)
    assert (status(answer), error(answer)) == (400, code)


def test_tls_is_told_that_there_is_none(shared: Server) -> None:
    assert b"without TLS" in shared.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100)


@pytest.mark.parametrize(
    "headers",
    [
        ("connection: upgrade, close", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: eA=="),
        ("connection: upgrade, http2-settings, close", "upgrade: h2c", "http2-settings: AAMAAABk"),
        ("expect: 200-maybe", "connection: close"),
    ],
)
def test_what_is_offered_beside_is_left_and_the_request_answered(shared: Server, headers: tuple[str, ...]) -> None:
    assert status(shared.ask(request("/offered", *headers))) == 200


def test_expect_is_answered_before_the_body(shared: Server) -> None:
    with shared.connect(request("/", "expect: 100-continue", "content-length: 5", method="POST")) as line:
        assert line.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"hello")
        assert b'"body": 5' in whole(line)


def test_a_body_refused_before_the_application_asks_for_it(shared: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The application has not run yet when the end of the answer is written."""
    head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b"malformed_request" in shared.ask(head + b"xyz\r\n")
    assert shared.ask(request("/", "connection: close")).startswith(b"HTTP/1.1 200")
    assert [record for record in caplog.records if record.exc_info] == []


def test_many_requests_on_one_connection(shared: Server) -> None:
    with shared.connect() as line:
        for at in range(300):
            line.sendall(request(f"/{at}"))
            assert f'"/{at}"'.encode() in whole(line)


def test_requests_ahead_of_their_answers_are_answered_in_order(shared: Server) -> None:
    sent = b"".join(request(f"/{at}") for at in range(49)) + request("/49", "connection: close")
    answer = shared.ask(sent)
    assert answer.count(b"HTTP/1.1 200") == 50
    places = [answer.index(f'"/{at}"'.encode()) for at in range(50)]
    assert places == sorted(places)


def test_but_not_without_end() -> None:
    with serving() as server:
        assert server.ask(request("/slow") + request("/") * (PIPELINED + 2)) == b""
        assert server.refused(Reason.PIPELINED) == 1
        large = request("/", "x: " + "y" * 1800)
        assert server.ask(request("/slow") + large * 6) == b""
        assert server.refused(Reason.PIPELINED) == 2
        assert server.get() == 200


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_http_1_0_gets_no_chunks_and_an_end(shared: Server, path: str) -> None:
    head, _, body = shared.ask(request(path, version="1.0")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == (b"x" * 10 if path == "/stream" else b'{"path": "/", "body": 0}')


def test_http_1_1_gets_chunks(shared: Server) -> None:
    head, _, body = shared.ask(request("/stream", "connection: close")).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"5\r\nxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n"


def test_clients_that_vanish_are_forgotten() -> None:
    with serving(replace(QUICK, head_s=60)) as server:
        for sent in (b"", b"GET /", request("/slow"), request("/", "content-length: 9", method="POST")):
            line = server.connect(sent)
            server.until(1)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
            server.until(0)
