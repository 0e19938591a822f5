"""Answers of unknown length to clients that do not support chunked coding."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CloseDelimited(RequestResponseCycle):
    """The answer to an HTTP/1.0 request, without chunked coding: without a length it ends with the connection."""

    _measured = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._measured = any(name.lower() == b"content-length" for name, _ in message.get("headers", []))
            if not self._measured:
                self.chunked_encoding = False
        elif not self._measured:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
