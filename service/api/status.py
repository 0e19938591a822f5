"""Errors as HTTP: one table of each class's status and OpenAI type, and the body and headers from it."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from starlette.responses import Response

from service import errors
from service.errors import QuickchangeError


class Row(NamedTuple):
    """One error class over HTTP."""

    status: int
    type: str


_INVALID, _SERVER = "invalid_request_error", "server_error"

STATUS: dict[type[QuickchangeError], Row] = {
    QuickchangeError: Row(500, _SERVER),
    errors.InternalError: Row(500, _SERVER),
    errors.InvalidValue: Row(400, _INVALID),
    errors.UnknownParameter: Row(400, _INVALID),
    errors.UnsupportedParameter: Row(400, _INVALID),
    errors.ContextLengthExceeded: Row(400, _INVALID),
    errors.BodyTooLarge: Row(413, _INVALID),
    errors.HeadersTooLarge: Row(431, _INVALID),
    errors.UnsupportedMediaType: Row(415, _INVALID),
    errors.OriginRefused: Row(403, "permission_error"),
    errors.KeylessRefused: Row(403, "permission_error"),
    errors.RequestTimeout: Row(408, _INVALID),
    errors.InvalidKey: Row(401, "authentication_error"),
    errors.InsufficientScope: Row(403, "permission_error"),
    errors.KeysLost: Row(503, _SERVER),
    errors.KeysStale: Row(503, _SERVER),
    errors.QuotaExceeded: Row(429, "rate_limit_error"),
    errors.QuotaTooSmall: Row(403, "permission_error"),
    errors.ModelNotFound: Row(404, _INVALID),
    errors.RouteNotFound: Row(404, _INVALID),
    errors.MethodNotAllowed: Row(405, _INVALID),
    errors.AdapterIncompatible: Row(422, _INVALID),
    errors.AdapterFailed: Row(503, _SERVER),
    errors.NonFiniteLogits: Row(422, _INVALID),
    errors.AdapterQuarantined: Row(503, _SERVER),
    errors.Overloaded: Row(429, "rate_limit_error"),
    errors.DeadlineExceeded: Row(504, "timeout_error"),
    errors.ReplicaFailed: Row(503, _SERVER),
    errors.NotReady: Row(503, _SERVER),
    errors.BaseUnavailable: Row(503, _SERVER),
    errors.ResponseNotFound: Row(404, _INVALID),
    errors.IdempotencyConflict: Row(409, _INVALID),
    errors.StorageFull: Row(507, _SERVER),
    errors.StorageFailed: Row(503, _SERVER),
    errors.StorageInUse: Row(503, _SERVER),
}

RETRY_AFTER_S = 1.0
"""``Retry-After`` of a 429 or 503 whose error has no better estimate."""
DISCONNECTED = 499
"""Logged, never sent: the client disconnected before its answer was complete."""


MESSAGE_CHARS = 1000
PARAM_CHARS = 200
"""Bound on a client's text that is repeated in ``param``."""


def error_body(error: QuickchangeError) -> dict[str, object]:
    """``{"error": {...}}`` in OpenAI's shape, for responses and for events inside a stream."""
    return {
        "error": {
            "message": error.message[:MESSAGE_CHARS],
            "type": STATUS[type(error)].type,
            "param": None if error.param is None else error.param[:PARAM_CHARS],
            "code": error.code,
        }
    }


def error_headers(error: QuickchangeError) -> dict[str, str]:
    """Whether and when to retry. The ``openai`` client retries 408, 409, 429 and 5xx without ``x-should-retry``."""
    status = STATUS[type(error)].status
    if status in (429, 503):
        wait_s = error.retry_after_s if error.retry_after_s is not None else RETRY_AFTER_S
        return {"retry-after": str(max(1, math.ceil(wait_s)))}
    if status == 401:
        return {"x-should-retry": "false", "www-authenticate": "Bearer"}
    if (status < 500 and status != 408) or status == 504:
        # A request that used up its time would do so again.
        return {"x-should-retry": "false"}
    return {}


def error_response(error: QuickchangeError) -> Response:
    """The complete answer to a request that failed before the first byte was sent."""
    headers = error_headers(error)
    if isinstance(error, errors.BodyTooLarge | errors.RequestTimeout):
        # The rest of the body will not be read.
        headers["connection"] = "close"
    return Response(
        json.dumps(error_body(error)),
        status_code=STATUS[type(error)].status,
        headers=headers,
        media_type="application/json",
    )
