"""The selection of an export, and its manifest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from adapters_registry.manifest import Digest, Name
from service.feedback.rows import Form, Format, Unfinished

Split = Literal["train", "held_out"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Selection(_Value):
    """Which feedback is exported, and in which format."""

    format: Format
    tenant: Name
    adapters: tuple[str, ...] = ()
    """``tenant/name`` or version digests: feedback on at least one of their answers. Empty: all."""
    sources: tuple[str, ...] = ()
    """Empty: all."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """Exclusive."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The fraction of prompts held out from training."""
    include: tuple[Unfinished, ...] = ()
    """Kinds of unfinished answers that are accepted as wanted answers."""


class ExportedFile(_Value):
    """One file of rows."""

    name: str
    form: Form
    split: Split
    rows: int
    bytes: int
    digest: Digest


class Manifest(_Value):
    """The sources of an export."""

    version: Literal[1] = 1
    selection: Selection
    columns: tuple[str, ...]
    files: tuple[ExportedFile, ...]
    rows: int
    events: int
    """Number of selected events, without duplicates."""
    left: dict[str, int]
    """Number of events, or parts of them, without a row, by reason."""
    first: AwareDatetime | None
    """Time of the oldest event that gave a row."""
    last: AwareDatetime | None
    adapters: dict[str, int]
    """Events that gave rows, by the digest of the weights that answered."""
    bases: dict[str, int]
