"""What a push allows that is refused by default; the version's notes record which allowances were used."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Allowances(BaseModel):
    """By default nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ignore_fields: tuple[FieldName, ...] = Field((), max_length=64)
    """Fields of ``adapter_config.json`` that this release does not know."""
    partial: bool = False
    """Modules that the config adapts but for which the file has no tensors."""
    no_effect: bool = False
    """An adapter that changes nothing."""


NOTHING = Allowances()
