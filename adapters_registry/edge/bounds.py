"""The maximum number of connections, and how long each may be silent."""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_log = logging.getLogger(__name__)

MOST = 4096
"""Bound on the default number of connections; one hostile connection can occupy a few hundred kilobytes."""
SHARE = 0.75
"""Share of the process's descriptors for connections; the others are for files, other sockets, and closing
sockets."""


class ConnectionLimits(BaseModel):
    """Limits on the connections of one listener."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    total: int | None = Field(None, gt=0)
    """Maximum connections. None: three quarters of the process's file descriptors, at most 4,096."""
    per_address: int | None = Field(None, gt=0)
    """Maximum connections of one client address; for IPv6, of one /64 network. None: half of ``total``; for loopback
    (programs and proxies of this machine) all. Behind a proxy on another machine, set it to ``total``."""
    head_s: float = Field(10.0, gt=0)
    """Time from the connection, or from the first byte of a request, to the end of the headers."""
    idle_s: float = Field(75.0, gt=0)
    """Time between two requests of a connection. Proxies should close idle connections earlier."""
    stall_s: float = Field(60.0, gt=0)
    """How long an answer waits for a client that reads less than 1 KiB/s."""

    @model_validator(mode="after")
    def _a_part_of_all(self) -> Self:
        if self.total is not None and self.per_address is not None and self.per_address > self.total:
            raise ValueError("per_address must not be more than total")
        return self


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one process, all of them resolved to numbers."""

    total: int
    per_address: int
    per_loopback: int
    """The same for a loopback address."""
    head_s: float
    idle_s: float
    stall_s: float
    header_bytes: int
    """Bound on a request line with its headers, on trailers, and on all other bytes of a request outside its body."""

    @property
    def backlog(self) -> int:
        """Connections that the system may queue: all of them can arrive at once, in addition to ``total``."""
        return max(16, min(2048, self.total // 6))


def bounds(limits: ConnectionLimits, header_bytes: int, descriptors: int | None = None) -> Bounds:
    """``limits`` for a process that may open ``descriptors``, by default this one."""
    if descriptors is None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = MOST * 2 if soft == resource.RLIM_INFINITY else soft
    possible = max(1, int(descriptors * SHARE))
    total = min(limits.total or MOST, possible)
    if limits.total is not None and total < limits.total:
        _log.warning(
            "fewer connections than the settings allow: raise the limit of open files (ulimit -n)",
            extra={"wanted": limits.total, "total": total, "descriptors": descriptors},
        )
    per_address = min(limits.per_address or max(1, total // 2), total)
    per_loopback = min(limits.per_address or total, total)
    return Bounds(
        total, per_address, per_loopback, limits.head_s, limits.idle_s, limits.stall_s, header_bytes=header_bytes
    )
