"""What the HTTP front is given: everything it needs that it does not own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from service.catalog import Catalog
from service.settings import Settings
from service.values import Generate, ServedBase


@dataclass(frozen=True)
class Front:
    """The seams of ``create_app``; tests hand in small fakes."""

    settings: Settings
    catalog: Catalog
    generate: Generate
    served: ServedBase
    tokenizer: PreTrainedTokenizerBase
    ready: Callable[[], Awaitable[bool]]
    """Whether the base answers; asked by each ``GET /ready``, given a few seconds."""
