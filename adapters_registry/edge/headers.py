"""Request headers as ASGI gives them: names in lower case, values as bytes."""

from __future__ import annotations

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]


def every(headers: Headers, name: bytes) -> list[bytes]:
    """The values of each header of that name, in order."""
    return [value for found, value in headers if found == name]


def only(headers: Headers, name: bytes) -> bytes | None:
    """The value of the one header of that name; None without one, or with two, since it is unclear which is meant."""
    found = every(headers, name)
    return found[0] if len(found) == 1 else None


def coding(headers: Headers) -> str | None:
    """Content coding of the body, in printable form; None if it is not compressed."""
    found = [value for value in every(headers, b"content-encoding") if value.strip().lower() != b"identity"]
    return printable(found[0]) if found else None


def printable(value: bytes, most: int = 100) -> str:
    """``value`` in a form for answers and log lines: ASCII, at most ``most`` characters."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in value[: most + 1])
    return text if len(text) <= most else text[:most] + "…"
