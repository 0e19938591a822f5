"""Listens for HTTP where Serve's direct ingress would: on a listener of ours, with bounds on connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from ray.serve.config import HTTPOptions
from starlette.types import ASGIApp

from adapters_registry.edge.listener import Listener
from service.api.edge import Edge
from service.errors import InvalidValue


async def start_http(
    host: str,
    listener: Listener,
    app: ASGIApp,
    options: HTTPOptions,
    *,
    event_loop: asyncio.AbstractEventLoop,
    **_: Any,
) -> tuple[asyncio.Task[None], uvicorn.Server]:
    """Serve HTTP on the direct ingress, in place of Serve's own ``start_asgi_http_server``.

    ``host`` is the address that the application was configured with: who is admitted depends on who can reach it.

    That one has no bounds on connections, nor on headers while they arrive; it binds without SO_REUSEADDR, so that a
    start within a minute of a stop meets connections in TIME_WAIT and fails; and Serve would obey some of the
    client's headers, which ``Edge`` takes off before.
    """
    if options.host != host:
        raise InvalidValue(
            f"Serve's http_options.host is {options.host} and QUICKCHANGE_HOST is {host}: set both to the same",
            param="host",
        )
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((options.host, options.port))
    except OSError as error:
        bound.close()
        raise RuntimeError(f"cannot listen on {options.host}:{options.port}") from error  # what Serve expects
    server = uvicorn.Server(
        listener.configure(
            Edge(app),
            interface="asgi3",  # what is within is a bound method, which uvicorn takes for something older
            lifespan="off",  # Serve runs it
            access_log=False,
        )
    )
    return event_loop.create_task(server.serve(sockets=[bound])), server
