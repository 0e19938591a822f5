"""Events out of bytes, however these are cut."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st

from service.api import sse as ours
from service.chat.sse import data_of


async def heard(*pieces: bytes) -> list[str]:
    async def come() -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            yield piece

    return [data async for data in data_of(come())]


@given(st.lists(st.text()), st.integers(1, 7))
async def test_what_the_service_writes_is_read_in_any_pieces(texts: list[str], size: int) -> None:
    events = [ours.event({"text": text}) for text in texts if text.isprintable() or text == text.strip()]
    stream = b"".join(events) + ours.DONE
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    expected = [event.decode().removeprefix("data: ").removesuffix("\n\n") for event in events]
    assert await heard(*pieces) == [*expected, "[DONE]"]


async def test_other_writers() -> None:
    assert await heard(b": comment\r\nevent: x\r\ndata:one\r\ndata: two\r\n\r\n\r\ndata: cut") == ["one\ntwo"]
