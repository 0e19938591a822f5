"""What a push allows that is refused otherwise; what was made use of is kept as notes of the version."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Allowances(BaseModel):
    """Nothing, by default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ignore_fields: tuple[FieldName, ...] = Field((), max_length=64)
    """Fields of ``adapter_config.json`` that this release does not know."""
    partial: bool = False
    """Modules that the config adapts and the file holds nothing of."""
    no_effect: bool = False
    """An adapter that changes nothing."""


NOTHING = Allowances()
