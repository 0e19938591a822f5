"""What is exported, and what an export says of itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from adapters_registry.manifest import Digest, Name
from service.feedback.rows import Form, Format, Unfinished

Split = Literal["train", "held_out"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Selection(_Value):
    """Which feedback is exported, and as what."""

    format: Format
    tenant: Name
    adapters: tuple[str, ...] = ()
    """``tenant/name`` or version digests: feedback on at least one answer of theirs. Empty: on all."""
    sources: tuple[str, ...] = ()
    """Empty: all."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """Exclusive."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The fraction of prompts that training does not see."""
    include: tuple[Unfinished, ...] = ()
    """Answers without a proper end that may be wanted ones all the same."""


class ExportedFile(_Value):
    """One file of rows."""

    name: str
    form: Form
    split: Split
    rows: int
    bytes: int
    digest: Digest


class Manifest(_Value):
    """What an export is made of."""

    version: Literal[1] = 1
    selection: Selection
    columns: tuple[str, ...]
    files: tuple[ExportedFile, ...]
    rows: int
    events: int
    """Events that were selected and counted, each once."""
    left: dict[str, int]
    """Why events, or parts of them, gave no row: counts by reason."""
    first: AwareDatetime | None
    """Time of the oldest event that gave a row."""
    last: AwareDatetime | None
    adapters: dict[str, int]
    """Events that gave rows, by the digest of the weights that answered."""
    bases: dict[str, int]
