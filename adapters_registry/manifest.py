"""What a version and a base are: immutable values; a version's identity is the bytes of its manifest as stored.

Readers ignore fields that they do not know: a newer writer's additions say more, never something else. What must not
be passed over is a role, a kind or an entry of ``needs``, and what changes how known fields are to be applied raises
``format``: a reader that does not know it refuses to serve that version, and lists it all the same.
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
"""A tenant's, adapter's or alias' name: an id, never a path."""
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
Capability = Annotated[str, StringConstraints(min_length=1, max_length=128)]


FORMAT = 2
"""The newest format that this release writes and can apply; ``formats`` has the earlier ones."""
_ALWAYS = frozenset({"format", "kind", "rank"})
"""Optional fields that are written at their defaults too; others are left out there, so that the same files give the
same version in every release."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BaseModule(_Value):
    """One module of the base that has weights."""

    type: str = Field(min_length=1, max_length=32)
    """linear and conv1d (GPT-2's transposed linear) are projections inside the decoder layers; else head, embedding,
    norm, or what only a newer service knows."""
    in_features: int = Field(ge=0)
    out_features: int = Field(ge=0)
    bias: bool
    weight: Digest | None = None
    """Of embeddings and heads: the digest of the weight's values as float32, little endian, row by row, whatever
    type they are kept in. With it a copy of the weight is known as one."""


class BaseManifest(_Value):
    """What uploads are checked against, so that the registry needs no torch.

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
    """What the service that announces it can run (``capabilities``), in any order; None of an earlier release's."""


class File(_Value):
    """One file of an adapter, by content."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    digest: Digest
    size: int = Field(ge=0)


class AdaptedModule(_Value):
    """What an adapter brings for one module of the base; each kind adds its parameters.

    It is the uploaded config, worked out once.
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
    """An immutable adapter version, as far as every reader knows it: of any kind, also of a newer release's.

    One that was read keeps the bytes that it was read from, with what this release does not know of: its digest does
    not depend on the fields of these classes.
    """

    format: int = Field(FORMAT, ge=1)
    kind: str = Field(min_length=1, max_length=63)
    base: Digest
    rank: int = Field(0, ge=0)
    """The largest rank of any module; 0 for a kind that has none."""
    dtype: str
    files: tuple[File, ...]
    """Sorted by path."""
    modules: tuple[AdaptedModule, ...] = ()
    """Sorted by module; left out where a newer format may have others."""
    needs: tuple[str, ...] = ()
    """What an engine must be capable of besides what kind and roles say (``capabilities.needs``), sorted. A later
    release that adds what must not be passed over names it here."""

    _canonical: bytes = PrivateAttr(b"")

    def canonical_json(self) -> bytes:
        """Sorted keys, no spaces, ASCII: the bytes that are stored and that the digest is of."""
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
        """The same adapter as a release that knew format 1 only wrote it; None if that could not say it."""
        try:
            return self.model_copy(update={"format": 1})
        except ValueError:
            return None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another version, if anything is updated; ``ValueError`` if its format cannot say it."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._canonical = _canonical(copied._written())
        return copied

    def _written(self) -> object:
        """As a release writes it that writes this format."""
        fields = _written(self)
        assert isinstance(fields, dict)
        return formats.in_format_1(fields) if self.format == 1 else fields

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        manifest = handler(formats.current(data, FORMAT))
        if manifest is not data:  # else it has its bytes already
            manifest._canonical = _canonical(data if info.mode == "json" else manifest._written())
        return manifest

    @model_serializer(mode="wrap")
    def _send(self, _: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """As read, so that whoever is sent it finds the same digest."""
        return dict(json.loads(self._canonical))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Of the fields, not of whatever ``_send`` may give."""
        model = schema.get("schema", schema)  # within ``_keep``
        return handler({key: part for key, part in model.items() if key != "serialization"})


class LoraManifest(Manifest):
    """A LoRA."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(ge=0)
    modules: tuple[LoraModule, ...]


def _variant(value: Any) -> str:
    """Which class of ``AnyManifest`` a value is of; "" is any kind."""
    field = value.get if isinstance(value, dict) else partial(getattr, value)
    return "lora" if field("kind", "") == "lora" and not formats.is_newer(field("format", FORMAT), FORMAT) else ""


AnyManifest = Annotated[Annotated[LoraManifest, Tag("lora")] | Annotated[Manifest, Tag("")], Discriminator(_variant)]
"""By kind, with the parameters of the kinds that this release knows."""
_ANY: TypeAdapter[Manifest] = TypeAdapter(AnyManifest)


def stored_manifest(text: str) -> Manifest:
    """The manifest that ``text`` is, whatever release wrote it."""
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
