"""The dependencies of the HTTP front, which others own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters_registry.edge.connections import ConnectionReport
from service.access.catalog import Catalog
from service.access.meter import Ledger, NoLedger
from service.feedback.port import Feedback
from service.metrics import GatewayMetrics
from service.report import FleetReport
from service.settings import Settings
from service.values import Generate, ServedBase

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Backend:
    """The deployments behind the front, as calls."""

    served: ServedBase
    generate: Generate
    ready: Callable[[], Awaitable[bool]]
    """Whether the base answers; called for ``GET /ready``, at most once per second."""
    feedback: Feedback | None
    """None if feedback is off."""
    inspect: Callable[[], Awaitable[FleetReport]]
    """Called for each ``GET /metrics`` and ``GET /v1/adapters/residency``."""
    connections: Callable[[], ConnectionReport] = ConnectionReport
    """Called for each ``GET /metrics``."""


@dataclass(frozen=True)
class Front:
    """The arguments of ``create_app``; tests pass small fakes."""

    settings: Settings
    catalog: Catalog
    tokenizer: PreTrainedTokenizerBase
    backend: Backend
    metrics: GatewayMetrics
    ledger: Ledger = field(default_factory=NoLedger)
    """Stores quota use across restarts."""
