"""What requests carry, with a bound on everything."""

from __future__ import annotations

import json
import re
from typing import Annotated, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.requests import ClientDisconnect

from adapters_registry.api.status import invalid
from adapters_registry.errors import BodyTooLarge, InvalidValue, TruncatedUpload
from adapters_registry.manifest import Digest, File

VersionNumber = Annotated[int, Field(gt=0, lt=1 << 31)]
M = TypeVar("M", bound=BaseModel)
_ETAG = re.compile(r'"?(\d{1,18})"?')


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CommitBody(_Body):
    """Files already uploaded that are to become a version."""

    files: list[File] = Field(min_length=1, max_length=16)
    base: str | None = Field(None, min_length=1, max_length=512)
    """Digest or name; null is the base last announced."""
    promote: bool = False
    lineage: dict[str, JsonValue] = Field(default_factory=dict)


class AliasBody(_Body):
    """Where an alias is to point."""

    version: VersionNumber | Digest = Field(union_mode="left_to_right")


async def read_body(request: Request, model: type[M], limit: int) -> M:
    """The JSON body as ``model``; at most ``limit`` bytes are read."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(f"The body has {announced} bytes, over {limit}.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise BodyTooLarge(f"The body has over {limit} bytes.")
    except ClientDisconnect:
        raise TruncatedUpload("The body ended early.") from None
    try:
        return model.model_validate_json(bytes(body), strict=True)
    except ValidationError as error:
        raise invalid(dict(error.errors(include_url=False)[0])) from None


def check_lineage(lineage: dict[str, JsonValue], limit: int) -> None:
    size = len(json.dumps(lineage).encode())
    if size > limit:
        raise BodyTooLarge(f"lineage has {size} bytes, over {limit}.", param="lineage")


def generation(header: str | None) -> int | None:
    """The generation in ``If-Match``, quoted or bare; None without the header."""
    if header is None:
        return None
    found = _ETAG.fullmatch(header.strip())
    if found is None:
        raise InvalidValue('If-Match: send the alias\' generation, e.g. "3".', param="If-Match")
    return int(found[1])


def digest(text: str) -> str:
    """A digest in a path, with or without ``sha256:``."""
    hexadecimal = text.removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", hexadecimal) is None:
        raise InvalidValue("A digest is sha256: and 64 lower-case hex digits.", param="digest")
    return f"sha256:{hexadecimal}"
