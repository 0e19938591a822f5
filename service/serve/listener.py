"""Replaces the HTTP server of Serve's direct ingress by a listener with bounds on connections."""

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

    ``host`` is the address in the application's settings, which decided whether requests need keys.

    Serve's own server has no bounds on connections or on arriving headers. It binds without SO_REUSEADDR, so a start
    within a minute of a stop fails because of connections in TIME_WAIT. And Serve would act on some of the client's
    headers, which ``Edge`` removes here.
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
            interface="asgi3",  # the application is a bound method, for which uvicorn would assume asgi2
            lifespan="off",  # Serve runs it
            access_log=False,
        )
    )
    return event_loop.create_task(server.serve(sockets=[bound])), server
