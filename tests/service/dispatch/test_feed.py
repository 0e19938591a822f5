"""The feed: events cross whole and in order, only to who knows the secret, however slow the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from service.dispatch.feed import MOST_ID, SECRET, Endpoint, Feeds, follow
from service.dispatch.messages import MESSAGE_EVENTS, MOST_MESSAGE, decode, encode
from service.errors import ReplicaFailed
from service.values import Event, FinishReason, TokenLogprob

floats = st.floats(allow_nan=False)
logprobs = st.builds(
    TokenLogprob, floats, st.lists(st.tuples(st.integers(0, 1 << 20), floats), max_size=3).map(tuple)
)
events = st.builds(
    Event,
    st.text(max_size=20),
    st.integers(0, 100),
    st.lists(st.integers(0, 1 << 20), max_size=4).map(tuple),
    st.lists(logprobs, max_size=3).map(tuple),
    st.none() | st.sampled_from(FinishReason),
    st.integers(0, 1 << 20),
    st.none() | st.integers(0, 1 << 31),
    st.none(),
)


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    feeds = Feeds()
    yield feeds
    feeds.close()


@given(st.lists(events, max_size=5))
def test_events_cross_as_they_are(told: list[Event]) -> None:
    read = decode(encode(told)[4:])
    assert read == told
    assert [type(event.finish) for event in read] == [type(event.finish) for event in told]
    assert all(isinstance(one, TokenLogprob) for event in read for one in event.logprobs)


async def test_a_slow_gateway_gets_everything_in_order(feeds: Feeds) -> None:
    """Far more than the sockets hold: written by another thread while the reader sleeps."""
    count, tokens = 4000, tuple(range(400))
    endpoint = feeds.here()
    frames = follow(endpoint, "g")
    feeds.put("g", [Event("r", 0, (0,))])
    first = await anext(frames)

    def write() -> None:
        for number in range(1, count):
            feeds.put("g", [Event("r", number, tokens)])

    writer = threading.Thread(target=write)
    writer.start()
    await asyncio.to_thread(writer.join)
    numbers = [event.choice for event in first]
    messages = 0
    async with asyncio.timeout(30):
        while len(numbers) < count:
            frame = await anext(frames)
            messages += 1
            numbers += [event.choice for event in frame]
    assert numbers == list(range(count))
    assert messages < count  # what waited was merged
    await frames.aclose()


async def test_by_address_as_by_name(feeds: Feeds) -> None:
    endpoint = feeds.at("127.0.0.1")
    assert feeds.at("127.0.0.1") == endpoint
    async with contextlib.aclosing(follow(endpoint, "g")) as frames:
        feeds.put("g", [Event("r", 0, (7,), finish=FinishReason.STOP)])
        assert await anext(frames) == [Event("r", 0, (7,), finish=FinishReason.STOP)]


async def test_without_the_secret_nothing_is_told(feeds: Feeds) -> None:
    endpoint = feeds.here()
    feeds.put("g", [Event("r", 0, (7,))])
    wrong = Endpoint(endpoint.address, "0" * 64)
    assert [frame async for frame in follow(wrong, "g")] == []
    reader, writer = await asyncio.open_unix_connection(str(endpoint.address))
    writer.write(b"x" * 1000)  # and no line ever ends
    with contextlib.suppress(ConnectionResetError):  # what it had not read yet makes of the end a reset
        assert await reader.read() == b""
    writer.close()
    async with contextlib.aclosing(follow(endpoint, "g")) as frames:
        assert await anext(frames) == [Event("r", 0, (7,))]


@pytest.mark.parametrize("place", ["here", "there"])
def test_on_the_event_loop_that_serve_runs(place: str) -> None:
    async def cross() -> list[Event]:
        feeds = Feeds()
        endpoint = feeds.here() if place == "here" else feeds.at("127.0.0.1")
        feeds.put("g", [Event("r", 0, (7,))])
        async with contextlib.aclosing(follow(endpoint, "g")) as frames:
            told = await anext(frames)
        feeds.close()
        return told

    assert uvloop.run(cross()) == [Event("r", 0, (7,))]


async def test_a_gateway_that_hangs_up_is_known_to_be_away(feeds: Feeds) -> None:
    frames = follow(feeds.here(), "g")
    feeds.put("g", [Event("r", 0)])
    await anext(frames)
    assert feeds.detached() == {}
    await frames.aclose()
    async with asyncio.timeout(60):
        while not feeds.detached():
            await asyncio.sleep(0.001)
    feeds.forget("g")
    assert feeds.detached() == {}


@given(st.binary(max_size=40))
def test_bytes_that_are_no_message_are_refused_by_one_error(body: bytes) -> None:
    with contextlib.suppress(ReplicaFailed):
        decode(body)


def test_an_event_that_cannot_be_written_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    good = Event("good", 0, (7,))
    assert decode(encode([good, Event("bad", 1, (1 << 64,))])[4:]) == [
        good,
        Event("bad", 1, finish=FinishReason.FAILED),
    ]
    assert caplog.records[0].levelname == "ERROR"


async def test_what_gathered_for_a_gateway_that_stood_still_comes_in_several_messages(feeds: Feeds) -> None:
    feeds.put("g", [Event("r", number) for number in range(MESSAGE_EVENTS + 1)])
    async with contextlib.aclosing(follow(feeds.here(), "g")) as frames:
        assert [len(await anext(frames)) for _ in range(2)] == [MESSAGE_EVENTS, 1]


async def test_gateways_may_come_while_those_away_are_counted(feeds: Feeds) -> None:
    """The engine's thread adds outboxes while the event loop looks through them."""
    done = threading.Event()

    def come() -> None:
        for number in range(20_000):
            feeds.outbox(f"g{number}")
        done.set()

    thread = threading.Thread(target=come)
    thread.start()
    while not done.is_set():
        feeds.detached()
    thread.join()
    assert len(feeds.detached()) == 20_000


async def test_accepting_goes_on_when_no_descriptor_was_left(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(24, "Too many open files")]

    async def none_left(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", none_left)
    async with contextlib.aclosing(follow(feeds.here(), "g")) as frames:
        feeds.put("g", [Event("r", 0)])
        assert await anext(frames) == [Event("r", 0)]
    assert not failures


async def test_what_is_no_message_ends_the_stream() -> None:
    name = "\0quickchange-test-no-message"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:  # closed with something unread it would be reset, and what it said lost
                connection.recv(SECRET + MOST_ID + 1)
                connection.sendall((MOST_MESSAGE + 1).to_bytes(4, "big"))
                connection.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ReplicaFailed, match="announced a message"):
            await anext(follow(Endpoint(name, "0" * 64), "g"))
    with pytest.raises(ReplicaFailed, match="does not take connections"):
        await anext(follow(Endpoint(name, "0" * 64), "g"))


async def test_gateways_do_not_hear_each_other(feeds: Feeds) -> None:
    streams = {id: follow(feeds.here(), id) for id in ("a", "b")}
    for number, id in itertools.product(range(3), streams):
        feeds.put(id, [Event(id, number)])
    for id, frames in streams.items():
        told: list[Event] = []
        while len(told) < 3:
            told += await anext(frames)
        assert told == [Event(id, number) for number in range(3)]
        await frames.aclose()
