"""Every option of the registry, read once from arguments and ``QUICKCHANGE_REGISTRY_*`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from adapters_registry.access import parse_key
from adapters_registry.edge.bounds import ConnectionLimits
from adapters_registry.edge.origins import Origin
from adapters_registry.support.variables import refuse_unknown

MIB = 1 << 20
PREFIX = "QUICKCHANGE_REGISTRY_"
ELSEWHERE = ("url", "key", "key_name")
"""Variables that others read: the service, which finds the registry by two of them, and ``create-admin-key``."""


class Limits(BaseModel):
    """Bounds on what a caller may send or hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_bytes: int = Field(4096 * MIB, gt=0)
    """Largest single file."""
    config_bytes: int = Field(1 * MIB, gt=0)
    """Largest ``adapter_config.json``."""
    header_bytes: int = Field(16 << 10, gt=0)
    """Request line and headers of one request, and trailers."""
    body_s: float = Field(30.0, gt=0)
    """Until a body of JSON must be in."""
    commit_bytes: int = Field(256 << 10, gt=0)
    base_bytes: int = Field(16 * MIB, gt=0)
    """Largest base manifest."""
    lineage_bytes: int = Field(16 << 10, gt=0)
    rank: int = Field(256, gt=0)
    """Largest LoRA rank."""
    uploads: int = Field(16, gt=0)
    """Uploads in flight; others wait."""
    validations: int = Field(2, gt=0)
    """Commits checked at once; others wait."""
    long_reads: int = Field(4, gt=0)
    """Snapshots, pages, audits and collections at once; others wait, and what is short does not wait for them."""
    tenant_share: float = Field(0.5, gt=0, le=1)
    """What one tenant alone may hold of uploads, checks, long reads, long-polls and staged bytes; beside others less.
    1 lets the first to come have all."""
    patience_s: float = Field(20.0, ge=0)
    """How long a request waits for one of those places before it is told to come back."""
    check_bytes: int = Field(1024 * MIB, gt=0)
    """Address space of the process that checks one artifact."""
    check_s: float = Field(300.0, gt=0)
    """Longest check by the clock; of processor time it may take half."""
    match_s: float = Field(5.0, gt=0)
    """Longest that the patterns of one config may take to match."""
    norm_modules: int = Field(256, gt=0)
    """Most modules of a version whose norms are kept one by one."""
    watchers: int = Field(256, gt=0)
    """Long-polls in flight before a further one is told to come back."""
    idle_s: float = Field(60.0, gt=0)
    """Longest pause within an upload."""
    slowest_bytes_per_s: int = Field(4096, ge=0)
    """An upload that has kept us waiting for ``idle_s`` longer than its bytes take at this rate is parked."""
    partial_s: float = Field(86_400.0, gt=0)
    """How long an upload that broke off waits to be continued."""
    staging_bytes: int = Field(16_384 * MIB, gt=0)
    """Uploads under way or broken off, all together."""
    lease_s: float = Field(86_400.0, gt=0)
    """How long uploaded bytes that no version has yet are kept for the tenant that uploaded them."""
    grace_s: float = Field(3600.0, ge=0)
    """How long bytes that nobody holds any more stay before a collection deletes them."""
    tenant_bytes: int | None = Field(None, ge=0)
    """What a tenant may hold, unless it has a bound of its own; None is without bound."""
    tenant_versions: int | None = Field(None, ge=0)
    page: int = Field(500, gt=0)
    """Most adapters of one page of a list."""

    @model_validator(mode="after")
    def _one_file_fits(self) -> Self:
        if self.staging_bytes * self.tenant_share < self.upload_bytes:
            raise ValueError(
                "a tenant's share of staging_bytes must not be less than upload_bytes: no largest file could come in"
            )
        return self


class RegistrySettings(BaseSettings):
    """The whole tree. Unknown keys are refused."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("quickchange") / "registry")
    """The database and the blobs, as far as they are not elsewhere, and uploads under way: one process owns it."""
    mark_dir: Path | None = None
    """A second place, on another disk, for the mark that keys were made: it keeps the registry closed when
    ``data_dir`` is lost. None: ``data_dir`` alone has it."""
    database_url: SecretStr | None = None
    """``postgresql://user:password@host:5432/name``, which several processes may share; None is SQLite in
    ``data_dir``. Give it by QUICKCHANGE_REGISTRY_DATABASE_URL: arguments are seen by every user of the machine.
    """
    blobs_url: str | None = Field(None, pattern=r"^s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._/-]*)?$")
    """``s3://bucket/prefix``: blobs lie there, reached as the AWS_* variables say (keys, region, AWS_ENDPOINT_URL);
    None is ``data_dir``."""
    service_key: SecretStr | None = None
    """The text of a key for a serving plane beside it, which needs no other; give it by
    QUICKCHANGE_REGISTRY_SERVICE_KEY. It follows all tenants' adapters and announces bases, no more."""
    collect_every_s: float | None = Field(3600.0, gt=0)
    """How often bytes that nothing names any more are deleted; None leaves it to ``POST /v1/gc``."""
    host: str = "127.0.0.1"
    """Other machines are listened to only once there is an admin key."""
    port: int = Field(8100, gt=0, lt=65536)
    cors_origins: tuple[Origin, ...] = ()
    """Web pages of these origins may ask (CORS), e.g. ``https://console.example``; ``*`` lets all pages ask, with a
    key. Without keys only the pages of origins named here may."""
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

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
