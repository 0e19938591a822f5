"""Why the native backend cannot be used."""

from __future__ import annotations


class NativeUnavailable(Exception):
    """The native backend cannot run on this machine or with this base; the message is the reason, as a clause."""
