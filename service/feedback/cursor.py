"""Encrypted cursors of feedback pages: a plain offset would reveal the amount of other tenants' feedback.

    seal = MAC(key, tenant, offset)[:16]        cursor = base64url(seal + (offset xor MAC(key, "pad", seal)))

The seal is the nonce of the pad (as in SIV, RFC 5297). So an offset has one cursor per tenant, and tenants cannot
create cursors, read them, or use those of other tenants.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from pathlib import Path

from adapters_registry.support.durable import write_whole
from service.feedback.reading import Offset

_OFFSET = struct.Struct("<QQI")
_SEAL_BYTES = 16
KEY_BYTES = 32


class Cursors:
    """Creates and reads the cursors of one log."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, tenant: str, offset: Offset) -> str:
        plain = _OFFSET.pack(*offset)
        seal = self._seal_of(tenant, plain)
        return base64.urlsafe_b64encode(seal + self._padded(seal, plain)).decode().rstrip("=")

    def open(self, tenant: str, cursor: str) -> Offset | None:
        """The offset; None if ``cursor`` is not one of this log for ``tenant``."""
        try:
            sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (ValueError, binascii.Error):
            return None
        if len(sealed) != _SEAL_BYTES + _OFFSET.size:
            return None
        seal = sealed[:_SEAL_BYTES]
        plain = self._padded(seal, sealed[_SEAL_BYTES:])
        good = hmac.compare_digest(seal, self._seal_of(tenant, plain))
        return Offset(*_OFFSET.unpack(plain)) if good else None

    def _seal_of(self, tenant: str, plain: bytes) -> bytes:
        return self._mac(b"seal", tenant.encode() + b"\0" + plain)[:_SEAL_BYTES]

    def _padded(self, seal: bytes, text: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(text, self._mac(b"pad", seal), strict=False))

    def _mac(self, use: bytes, text: bytes) -> bytes:
        return hmac.new(self._key, use + b"\0" + text, hashlib.sha256).digest()


def cursors_of(directory: Path) -> Cursors:
    """The cursors of the log in ``directory``. A missing key is created; all earlier cursors are then invalid."""
    path = directory / "cursor.key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) != KEY_BYTES:
        key = secrets.token_bytes(KEY_BYTES)
        write_whole(path, [key])
    return Cursors(key)
