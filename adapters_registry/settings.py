"""Every option of the registry, read once from arguments and ``QUICKCHANGE_REGISTRY_*`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from adapters_registry.access import parse_key
from adapters_registry.edge.bounds import ConnectionLimits
from adapters_registry.edge.origins import Origin
from adapters_registry.support.variables import StrictSettings

MIB = 1 << 20


class Limits(BaseModel):
    """Limits on what a caller may send or hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    upload_bytes: int = Field(4096 * MIB, gt=0)
    """Largest single file."""
    config_bytes: int = Field(1 * MIB, gt=0)
    """Largest ``adapter_config.json``."""
    header_bytes: int = Field(16 << 10, gt=0)
    """Request line, headers and trailers of one request."""
    body_s: float = Field(30.0, gt=0)
    """Time for a JSON body to arrive."""
    commit_bytes: int = Field(256 << 10, gt=0)
    base_bytes: int = Field(2 * MIB, gt=0)
    """Largest base manifest: about 18,000 modules. Other requests wait while one is parsed."""
    lineage_bytes: int = Field(16 << 10, gt=0)
    rank: int = Field(256, gt=0)
    """Largest LoRA rank."""
    uploads: int = Field(16, gt=0)
    """Uploads at the same time; others wait."""
    validations: int = Field(2, gt=0)
    """Commits checked at the same time; others wait."""
    long_reads: int = Field(4, gt=0)
    """Snapshots, pages, audits and collections at the same time; others wait. Short reads do not wait for them."""
    tenant_share: float = Field(0.5, gt=0, le=1)
    """The share of uploads, checks, long reads, long-polls and staged bytes that a tenant may have while it is alone;
    with other tenants it is less. 1 turns shares off."""
    patience_s: float = Field(20.0, ge=0)
    """How long a request waits for one of these places before it gets a 429."""
    check_bytes: int = Field(1024 * MIB, gt=0)
    """Address space of the process that checks one artifact."""
    check_s: float = Field(300.0, gt=0)
    """Maximum wall time of a check; its maximum processor time is half of it."""
    match_s: float = Field(5.0, gt=0)
    """Maximum time to match the patterns of one configuration."""
    norm_modules: int = Field(256, gt=0)
    """Maximum modules of a version whose norms are stored one by one."""
    watchers: int = Field(256, gt=0)
    """Long-polls at the same time; beyond it, 429."""
    idle_s: float = Field(60.0, gt=0)
    """Maximum pause within an upload."""
    slowest_bytes_per_s: int = Field(4096, ge=0)
    """An upload is suspended after it waited ``idle_s`` longer than its bytes take at this rate."""
    partial_s: float = Field(86_400.0, gt=0)
    """How long an interrupted upload can be continued."""
    staging_bytes: int = Field(16_384 * MIB, gt=0)
    """Total bytes of unfinished uploads."""
    lease_s: float = Field(86_400.0, gt=0)
    """How long uploaded files without a version are kept for their tenant."""
    grace_s: float = Field(3600.0, ge=0)
    """How long unused files are kept before a collection deletes them."""
    tenant_bytes: int | None = Field(None, ge=0)
    """A tenant's maximum bytes, if no bound is set for it; None: no bound."""
    tenant_versions: int | None = Field(None, ge=0)
    page: int = Field(500, gt=0)
    """Maximum adapters per page of a list."""

    @model_validator(mode="after")
    def _one_file_fits(self) -> Self:
        if self.staging_bytes * self.tenant_share < self.upload_bytes:
            raise ValueError(
                "a tenant's share of staging_bytes must not be less than upload_bytes: no largest file could come in"
            )
        return self


class RegistrySettings(StrictSettings):
    """Serve the adapter registry. Every option is also a variable: --port is QUICKCHANGE_REGISTRY_PORT."""

    model_config = SettingsConfigDict(
        env_prefix="QUICKCHANGE_REGISTRY_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )
    elsewhere = ("url", "key", "key_name")
    """Variables that other programs read: the service (registry's address and key) and ``create-admin-key``."""

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("quickchange") / "registry")
    """The database and the blobs, unless they are set to another place, and unfinished uploads. For one process."""
    mark_dir: Path | None = None
    """Another directory, on another disk, for the mark that keys were created. If ``data_dir`` is lost, the registry
    then still requires keys. None: the mark is in ``data_dir`` only."""
    database_url: SecretStr | None = None
    """``postgresql://user:password@host:5432/name``, which several processes may share; None: SQLite in ``data_dir``.
    Set it by QUICKCHANGE_REGISTRY_DATABASE_URL: every user of the machine can read arguments.
    """
    blobs_url: str | None = Field(None, pattern=r"^s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._/-]*)?$")
    """``s3://bucket/prefix`` for the blobs, with the AWS_* variables (keys, region, AWS_ENDPOINT_URL); None:
    ``data_dir``."""
    service_key: SecretStr | None = None
    """The text of a key for one service, which then needs no other key. It permits following all tenants' adapters
    and announcing bases, nothing else. Set it by QUICKCHANGE_REGISTRY_SERVICE_KEY."""
    collect_every_s: float | None = Field(3600.0, gt=0)
    """How often unused files are deleted; None: only by ``POST /v1/gc``."""
    host: str = "127.0.0.1"
    """Another address than loopback needs an admin key."""
    port: int = Field(8100, gt=0, lt=65536)
    cors_origins: tuple[Origin, ...] = ()
    """Origins of web pages that may send requests (CORS), e.g. ``https://console.example``. ``*``: all pages, with a
    key. Without keys, only the origins named here."""
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("service_key")
    @classmethod
    def _is_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and parse_key(key.get_secret_value()) is None:
            raise ValueError("must be the text of a key: qc_<12 characters>_<43 characters>")
        return key

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must be postgresql://user:password@host:5432/name; without it SQLite is used")
        return url
