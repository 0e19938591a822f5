"""The OpenAPI description: every parameter, body, answer and error of every route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from adapters_registry import errors
from adapters_registry.api.auth import Requirement, owners
from adapters_registry.api.bodies import JsonBody
from adapters_registry.api.parts import PARTIAL_TYPE
from adapters_registry.api.status import STATUS
from adapters_registry.errors import RegistryError

Responses = dict[int | str, dict[str, Any]]
"""By status, as FastAPI accepts them."""
_EVERY: tuple[type[RegistryError], ...] = (
    errors.InvalidValue,
    errors.UnknownParameter,
    errors.InvalidKey,
    errors.InsufficientScope,
    errors.KeylessRefused,
    errors.RouteNotFound,
    errors.MethodNotAllowed,
    errors.RequestTimeout,
    errors.UnsupportedMediaType,
    errors.Overloaded,
    errors.RegistryError,
    errors.StorageFailed,
    errors.StorageFull,
)
_BODY_REF = "#/components/schemas/{model}Input"


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """Every failure's body."""

    model_config = ConfigDict(extra="forbid")

    error: Problem


def answers(*classes: type[RegistryError], good: Responses | None = None) -> Responses:
    """The failures of a route in addition to those of every route, and its successful answers."""
    found: Responses = {}
    for cls in (*_EVERY, *classes):
        entry = found.setdefault(STATUS[cls], {"model": ErrorBody, "description": ""})
        line = f"`{cls.code}`: {(cls.__doc__ or '').strip()}"
        entry["description"] = "\n".join(filter(None, (entry["description"], line)))
    return found | (good or {})


def headers(*names: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}} for name in names}


def bytes_body(media_type: str = "application/octet-stream") -> dict[str, Any]:
    """A part of an upload, and the headers that describe the part."""
    begins = media_type != PARTIAL_TYPE
    parameters = [
        _header("Upload-Offset", r"^[0-9]{1,15}$", required=not begins),
        _header("Upload-Complete", r"^\?[01]$", required=not begins),
        _header("Upload-Length", r"^[0-9]{1,15}$", required=False),
    ]
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}, "parameters": parameters}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of ``app``'s routes."""
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    models: dict[type[BaseModel], bool] = {}
    for route in app.routes:
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            if route.include_in_schema:
                models |= _finish(found["paths"][route.path_format][method.lower()], route)
    components = found["components"]
    for strict in (False, True):
        wanted = [model for model, is_strict in models.items() if is_strict is strict]
        components["schemas"] |= _bodies(wanted, strict=strict)
    for never in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(never, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return found


def _bodies(models: Sequence[type[BaseModel]], *, strict: bool) -> dict[str, Any]:
    """Schemas of bodies; those in ``strict`` refuse unknown fields at any depth."""
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_BODY_REF)
    schemas = {f"{name}Input": schema for name, schema in found.get("$defs", {}).items()}
    for schema in schemas.values():
        if strict and "properties" in schema:
            schema["additionalProperties"] = False
    return schemas


def _finish(operation: dict[str, Any], route: APIRoute) -> dict[type[BaseModel], bool]:
    """Adds the key and the body, which FastAPI does not know; returns the body's model and whether it is strict."""
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]  # never sent: malformed requests get a 400
    models: dict[type[BaseModel], bool] = {}
    for owner in owners(route):
        if isinstance(owner, Requirement) and owner.scopes:
            operation["security"] = [{"key": []}]
            operation["x-scopes"] = sorted(owner.scopes)
        if isinstance(owner, JsonBody):
            models[owner.model] = owner.unknown == "forbid"
            schema = {"$ref": _BODY_REF.format(model=owner.model.__name__)}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return models


def _header(name: str, pattern: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": {"type": "string", "pattern": pattern}}
