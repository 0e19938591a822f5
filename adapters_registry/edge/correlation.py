"""The ids that relate a client's logs and traces to the server's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters_registry.edge.headers import Headers

REQUEST_ID = "x-request-id"
"""In requests, the id of the client or its proxy; answers return it, or the server's id if none was sent."""
OWN_ID = "x-quickchange-request-id"
"""In every answer: the id in the server's logs."""

_ID = re.compile(rb"[!-~]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Correlation:
    """The ids that may be logged. Text of any other form is left out, since it is untrusted input."""

    client_request_id: str | None = None
    """At most 128 printable characters."""
    traceparent: str | None = None
    """As W3C Trace Context writes it, version 00 or later."""

    def fields(self) -> dict[str, str]:
        """For a log line; absent ids are left out."""
        given = {"client_request_id": self.client_request_id, "traceparent": self.traceparent}
        return {name: value for name, value in given.items() if value is not None}


def correlation(headers: Headers) -> Correlation:
    """The first valid value of each header."""
    request_id = traceparent = None
    for name, value in headers:
        if request_id is None and name == REQUEST_ID.encode() and _ID.fullmatch(value):
            request_id = value.decode()
        if traceparent is None and name == b"traceparent" and _TRACEPARENT.fullmatch(value):
            traceparent = value.decode()
    return Correlation(request_id, traceparent)
