"""Models of request bodies, each field with a bound."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect

from adapters_registry import json_text
from adapters_registry.access import Scope
from adapters_registry.allowances import Allowances, FieldName
from adapters_registry.api.plane import plane_of
from adapters_registry.api.status import invalid
from adapters_registry.errors import BodyTooLarge, InvalidValue, RequestTimeout, TruncatedUpload
from adapters_registry.keys import MOST_OVERLAP_S
from adapters_registry.manifest import Digest, File, Name
from adapters_registry.records import Quotas

MetricName = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,128}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
VersionNumber = Annotated[int, Field(gt=0, lt=1 << 31)]
M = TypeVar("M", bound=BaseModel)
_ETAG = re.compile(r'"?(\d{1,18})"?')


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CommitBody(_Body):
    """Uploaded files that are to become a version."""

    files: list[File] = Field(min_length=1, max_length=16)
    base: str | None = Field(None, min_length=1, max_length=512)
    """Digest or name; null is the base that the config names, or the only one that is served."""
    promote: bool = False
    lineage: dict[str, JsonValue] = Field(default_factory=dict)
    ignore_fields: list[FieldName] = Field(default_factory=list, max_length=64)
    """Unknown fields of ``adapter_config.json`` to ignore, since they have no effect."""
    allow_partial: bool = False
    """Modules that the config adapts but for which the file has no tensors are left unchanged."""
    allow_no_effect: bool = False
    """The adapter may have no effect."""

    @property
    def allowed(self) -> Allowances:
        return Allowances(
            ignore_fields=tuple(self.ignore_fields), partial=self.allow_partial, no_effect=self.allow_no_effect
        )


class AliasBody(_Body):
    """Where an alias is to point."""

    version: VersionNumber | Digest = Field(union_mode="left_to_right")


class ProtectionBody(_Body):
    """Who may move an alias."""

    protected: bool
    requires: Name | None = None
    """An evaluation that a version must have passed before the alias moves to it."""


class EvaluationBody(_Body):
    """What an evaluation found."""

    passed: bool
    metrics: dict[MetricName, Finite] = Field(default_factory=dict, max_length=64)


class KeyBody(_Body):
    """Properties of a new key."""

    name: str = Field(pattern=r"^[ -~]{1,128}$")
    """For people; not unique."""
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    tenant: Name | None = None
    """Null is the caller's tenant; for an operator, every tenant."""
    quotas: Quotas = Quotas()
    expires_at: AwareDatetime | None = None


class RotationBody(_Body):
    """How a key is replaced."""

    overlap_s: float = Field(86_400.0, ge=0, le=MOST_OVERLAP_S)
    """How long both keys are valid."""


class CollectBody(_Body):
    """What a collection may do."""

    dry_run: bool
    """Only report what would be deleted."""
    grace_s: float | None = Field(None, ge=0, le=1e9)
    """Younger bytes are kept; null is the registry's setting."""


@dataclass(frozen=True, slots=True)
class JsonBody(Generic[M]):
    """The JSON body of a route as ``model``, read with a bound."""

    model: type[M]
    limit: str = "commit_bytes"
    """Name of the field of ``Limits`` that bounds the body."""
    unknown: Literal["forbid", "ignore"] = "forbid"
    """What happens to fields that the model does not have, at any depth."""

    async def read(self, request: Request) -> M:
        """Reads at most as many bytes as the limit allows."""
        limits = plane_of(request).limits
        limit = getattr(limits, self.limit)
        announced = request.headers.get("content-length", "0")
        too_large = f"The body has over {limit} bytes (the registry's setting limits.{self.limit})."
        if re.fullmatch("[0-9]+", announced) and (len(announced) > 18 or int(announced) > limit):
            raise BodyTooLarge(too_large)
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise BodyTooLarge(too_large)
        except TimeoutError:
            raise RequestTimeout(f"The body was not there after {limits.body_s:g} s: send it faster.") from None
        except ClientDisconnect:
            raise TruncatedUpload("The body ended early.") from None
        text = bytes(body)
        return await plane_of(request).bodies.run(len(text), lambda: self.parse(text), account="")

    def parse(self, body: bytes) -> M:
        """In time linear in the length of ``body``; raises ``InvalidValue`` or ``UnknownParameter``."""
        objection = json_text.objection(body)
        if objection is not None:
            raise InvalidValue(f"The body is too large to take in: {objection}.")
        try:
            return self.model.model_validate_json(body, strict=True, extra=self.unknown)
        except ValidationError as error:
            raise invalid(error) from None


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
