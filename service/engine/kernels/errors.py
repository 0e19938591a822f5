"""Why the native backend cannot be used."""

from __future__ import annotations


class NativeUnavailable(Exception):
    """This machine or this base has no native backend; the message says why, as a clause."""
