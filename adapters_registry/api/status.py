"""Error to HTTP answer: one table of statuses, one shape (OpenAI's)."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from adapters_registry import errors
from adapters_registry.errors import (
    InvalidKey,
    InvalidValue,
    MethodNotAllowed,
    OffsetMismatch,
    RegistryError,
    RouteNotFound,
    UnknownParameter,
)

_log = logging.getLogger(__name__)

STATUS: dict[type[RegistryError], int] = {
    errors.RegistryError: 500,
    errors.RegistryUnavailable: 503,
    errors.StoreOwned: 503,
    errors.ExtraMissing: 503,
    errors.KeyNeeded: 503,
    errors.KeylessRefused: 403,
    errors.OriginRefused: 403,
    errors.AuditBroken: 500,
    errors.InvalidKey: 401,
    errors.KeysLost: 503,
    errors.InsufficientScope: 403,
    errors.KeyNotFound: 404,
    errors.LastAdminKey: 409,
    errors.TenantNotFound: 404,
    errors.QuotaExceeded: 403,
    errors.AliasProtected: 403,
    errors.EvaluationRequired: 409,
    errors.InvalidValue: 400,
    errors.UnknownParameter: 400,
    errors.RouteNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.AdapterNotFound: 404,
    errors.VersionNotFound: 404,
    errors.VersionDeleted: 410,
    errors.AliasNotFound: 404,
    errors.BaseNotFound: 404,
    errors.BlobNotFound: 404,
    errors.GenerationMismatch: 412,
    errors.GenerationRequired: 428,
    errors.AliasInUse: 409,
    errors.NoPreviousVersion: 409,
    errors.BodyTooLarge: 413,
    errors.TruncatedUpload: 400,
    errors.RequestTimeout: 408,
    errors.UploadTimeout: 408,
    errors.OffsetMismatch: 409,
    errors.UnsupportedMediaType: 415,
    errors.DigestMismatch: 422,
    errors.BlobMissing: 422,
    errors.Overloaded: 429,
    errors.StorageFull: 507,
    errors.StorageFailed: 503,
    errors.AdapterRefused: 422,
    errors.BaseNotNamed: 422,
    errors.BaseMismatch: 422,
    errors.PickleRefused: 422,
    errors.UnknownFile: 422,
    errors.InvalidConfig: 422,
    errors.UnsupportedField: 422,
    errors.InvalidTensors: 422,
    errors.NotFinite: 422,
    errors.UnknownModule: 422,
    errors.ShapeMismatch: 422,
    errors.RankTooLarge: 422,
    errors.UnexpectedTensor: 422,
    errors.MissingTensor: 422,
    errors.NotRunnable: 422,
    errors.NoEffect: 422,
    errors.CheckFailed: 422,
    errors.CheckUnavailable: 503,
}
_PASSING = {408, 429, 503, 507}
"""Statuses after which a retry may succeed; with all others, a header asks clients not to retry."""


DEFECT = "A defect of the registry; its log has the trace."
MESSAGE_CHARS = 1000
PARAM_CHARS = 200
"""Bound on a caller's text that is repeated in ``param``."""
_MOST_ERRORS = 100
"""Bodies with more errors get no first one named: pydantic builds all error records or none, and each takes about a
hundred times the bytes of its input."""


def render(error: RegistryError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response for ``error``."""
    status = STATUS[type(error)]
    sent = dict(headers or {}) | _extra_headers(error)
    if status in _PASSING:
        sent["retry-after"] = str(math.ceil(error.retry_after_s or 1))
    else:
        sent["x-should-retry"] = "false"
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {
        "message": error.message[:MESSAGE_CHARS],
        "type": kind,
        "param": None if error.param is None else error.param[:PARAM_CHARS],
        "code": error.code,
    }
    return JSONResponse({"error": body}, status, sent)


def _extra_headers(error: RegistryError) -> dict[str, str]:
    """Headers in addition to those of every error."""
    if isinstance(error, OffsetMismatch):
        return {"upload-offset": str(error.offset)}
    return {"www-authenticate": "Bearer"} if isinstance(error, InvalidKey) else {}


def invalid(error: ValidationError | RequestValidationError) -> RegistryError:
    """The first of pydantic's errors as a registry error that names the field."""
    if isinstance(error, ValidationError):
        if error.error_count() > _MOST_ERRORS:
            return InvalidValue(f"The body has {error.error_count()} errors: compare it with /openapi.json.")
        return _invalid(dict(error.errors(include_url=False, include_input=False, include_context=False)[0]))
    first = error.errors()[0]
    return _invalid(first | {"loc": first["loc"][1:]})  # without the location: path, query, header


def _invalid(found: dict[str, Any]) -> RegistryError:
    field = ".".join(str(step)[:PARAM_CHARS] for step in found["loc"]) or None
    if found["type"] == "extra_forbidden":
        return UnknownParameter(f"Unknown field {field}.", param=field)
    return InvalidValue(f"{field or 'body'}: {found['msg']}.", param=field)


def install(app: FastAPI) -> None:
    """Makes every failure of ``app`` a response of the one shape."""

    @app.exception_handler(RegistryError)
    async def ours(_request: Request, error: RegistryError) -> JSONResponse:
        if STATUS[type(error)] >= 500:
            _log.error("request failed", extra={"code": error.code}, exc_info=error)
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        return render(invalid(error))

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}"
        if error.status_code == 405:
            return render(MethodNotAllowed(f"No {what}."), dict(error.headers or {}))
        if error.status_code == 404:
            return render(RouteNotFound(f"No route {what}."))
        return render(InvalidValue(str(error.detail)))
