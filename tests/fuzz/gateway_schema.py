"""The gateway's requests as an OpenAPI description, made from its wire models; the registry describes itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from service.api.schemas import ChatRequest, CompletionRequest
from service.feedback.said import FeedbackInput

_TEMPLATE = "#/components/schemas/{model}"


def description(url: str) -> dict[str, Any]:
    """OpenAPI 3.1 of what takes a body, and of what takes a query."""
    schemas: dict[str, Any] = {}
    paths = {
        "/v1/chat/completions": {"post": _taking(_model(ChatRequest, schemas))},
        "/v1/completions": {"post": _taking(_completion(schemas))},
        "/v1/feedback": {"post": _taking(_feedback(schemas)), "get": _asking("after", "limit")},
        "/v1/models": {"get": _asking()},
        "/v1/adapters/residency": {"get": _asking()},
        "/metrics": {"get": _asking()},
    }
    about = {"title": "gateway", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": about,
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _model(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_TEMPLATE)
    schemas |= schema.pop("$defs", {})
    schema["properties"]["model"] = {"enum": ["acme/support", "org/Base:1b", "acme/nothing"]}
    return schema


def _completion(schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _model(CompletionRequest, schemas)
    schema["properties"]["prompt"] = {"type": ["string", "array"], "items": {"type": ["string", "integer", "array"]}}
    return schema


def _feedback(schemas: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = TypeAdapter(FeedbackInput).json_schema(ref_template=_TEMPLATE)
    schemas |= schema.pop("$defs", {})
    return schema


def _taking(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}, "responses": {}}


def _asking(*query: str) -> dict[str, Any]:
    return {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query],
        "responses": {},
    }
