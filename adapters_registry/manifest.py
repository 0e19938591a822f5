"""Immutable values of versions and bases; a version's identity is the stored bytes of its manifest.

Readers ignore fields that they do not know: a newer writer only adds information. A reader must not ignore an unknown
role, kind or entry of ``needs``. A change of how known fields are applied increases ``format``. A reader that does
not know one of these refuses to serve the version, and still lists it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from adapters_registry import formats

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a tenant, adapter or alias: an id, never a path."""
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
Capability = Annotated[str, StringConstraints(min_length=1, max_length=128)]


FORMAT = 2
"""The newest format, which this release writes and can apply; ``formats`` has the earlier ones."""
_ALWAYS = frozenset({"format", "kind", "rank"})
"""Optional fields that are written at their defaults too; other fields are left out at their defaults, so that the
same files give the same version in every release."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BaseModule(_Value):
    """One module of the base that has weights."""

    type: str = Field(min_length=1, max_length=32)
    """linear and conv1d (GPT-2's transposed linear) are projections inside the decoder layers; others are head,
    embedding, norm, or types that only a newer service knows."""
    in_features: int = Field(ge=0)
    out_features: int = Field(ge=0)
    bias: bool
    weight: Digest | None = None
    """Of embeddings and heads: the digest of the weight's values as float32, little endian, row by row, whatever the
    stored type. Used to recognise a copy of the weight."""


class BaseManifest(_Value):
    """The description that uploads are checked against, so that the registry needs no torch.

    ``digest`` covers sorted tensor names, dtypes, shapes and bytes, the config essentials, the tokenizer and
    the chat template; it is computed by the service, which holds the weights.
    """

    digest: Digest
    name: str = Field(min_length=1, max_length=512)
    architecture: str = Field(min_length=1, max_length=128)
    dtype: str = Field(min_length=1, max_length=32)
    vocab_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    modules: Annotated[dict[str, BaseModule], FailFast()] = Field(max_length=65536)
    """By dotted name as in the transformers model, e.g. ``model.layers.0.self_attn.q_proj``."""
    runs: Annotated[tuple[Capability, ...], Field(max_length=1024)] | None = None
    """What the announcing service can run (``capabilities``), in any order; None from an earlier release."""


class File(_Value):
    """One file of an adapter, by content."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    digest: Digest
    size: int = Field(ge=0)


class AdaptedModule(_Value):
    """An adapter's part for one module of the base; each kind adds its parameters.

    The uploaded config, resolved once.
    """

    module: str
    tensors: dict[str, str]
    """By role, the name in ``adapter_model.safetensors``; ``shapes`` has each kind's roles."""


class LoraModule(AdaptedModule):
    """y += scale · (x Aᵀ) Bᵀ (Hu et al. 2021), plus ``scale · b_bias``; ``bias`` replaces the base's own bias."""

    rank: int = Field(ge=0)
    """0: only the bias changes."""
    scale: float


class Manifest(_Value):
    """An immutable adapter version with the fields that all kinds have, including kinds of newer releases.

    A manifest that was read keeps the original bytes, including fields that this release does not know: its digest
    does not depend on the fields of these classes.
    """

    format: int = Field(FORMAT, ge=1)
    kind: str = Field(min_length=1, max_length=63)
    base: Digest
    rank: int = Field(0, ge=0)
    """The largest rank of any module; 0 for kinds without rank."""
    dtype: str
    files: tuple[File, ...]
    """Sorted by path."""
    modules: tuple[AdaptedModule, ...] = ()
    """Sorted by module; empty for newer formats, whose modules may differ."""
    needs: tuple[str, ...] = ()
    """Capabilities that an engine must have in addition to those implied by kind and roles (``capabilities.needs``),
    sorted. A later release lists here additions that must not be ignored."""

    _canonical: bytes = PrivateAttr(b"")

    def canonical_json(self) -> bytes:
        """Sorted keys, no spaces, ASCII: the bytes that are stored and hashed."""
        return self._canonical

    @property
    def digest(self) -> str:
        """``sha256:`` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self._canonical).hexdigest()

    def file(self, path: str) -> File:
        """The file at ``path``; ``KeyError`` if there is none."""
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)

    def in_format_1(self) -> Self | None:
        """The same adapter as a release with format 1 wrote it; None if format 1 cannot express it."""
        try:
            return self.model_copy(update={"format": 1})
        except ValueError:
            return None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another version, if anything is updated; ``ValueError`` if its format cannot express it."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._canonical = _canonical(copied._written())
        return copied

    def _written(self) -> object:
        """The manifest as a release with this format writes it."""
        fields = _written(self)
        assert isinstance(fields, dict)
        return formats.in_format_1(fields) if self.format == 1 else fields

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        manifest = handler(formats.current(data, FORMAT))
        if manifest is not data:  # otherwise it has its bytes already
            manifest._canonical = _canonical(data if info.mode == "json" else manifest._written())
        return manifest

    @model_serializer(mode="wrap")
    def _send(self, _: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """The bytes as read, so that the receiver computes the same digest."""
        return dict(json.loads(self._canonical))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the fields, not of what ``_send`` returns."""
        model = schema.get("schema", schema)  # within ``_keep``
        return handler({key: part for key, part in model.items() if key != "serialization"})


class LoraManifest(Manifest):
    """The manifest of a LoRA."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(ge=0)
    modules: tuple[LoraModule, ...]


def _variant(value: Any) -> str:
    """Tag of the class in ``AnyManifest`` for a value; "" is any kind."""
    field = value.get if isinstance(value, dict) else partial(getattr, value)
    return "lora" if field("kind", "") == "lora" and not formats.is_newer(field("format", FORMAT), FORMAT) else ""


AnyManifest = Annotated[Annotated[LoraManifest, Tag("lora")] | Annotated[Manifest, Tag("")], Discriminator(_variant)]
"""By kind, with the parameters of the kinds that this release knows."""
_ANY: TypeAdapter[Manifest] = TypeAdapter(AnyManifest)


def stored_manifest(text: str) -> Manifest:
    """The manifest with the stored ``text``, of any release."""
    manifest = _ANY.validate_json(text)
    manifest._canonical = text.encode()
    return manifest


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _written(value: object) -> object:
    """``value`` as plain JSON."""
    if isinstance(value, BaseModel):
        return {
            name: _written(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name in _ALWAYS or field.is_required() or getattr(value, name) != field.get_default()
        }
    return [_written(one) for one in value] if isinstance(value, tuple) else value
