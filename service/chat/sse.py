"""Server-sent events from bytes, in pieces of any size, to the data of each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable


async def data_of(pieces: AsyncIterable[bytes]) -> AsyncGenerator[str, None]:
    """The data of each event, in order; an incomplete event is dropped.

    Lines end at LF, with or without CR. httpx's ``aiter_lines`` cannot be used: it also splits at U+2028 and other
    characters that an answer may contain.
    """
    rest, data = b"", list[str]()
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r").decode()
            if line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
