"""The listener of the direct ingress, as far as it can be had without Serve."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from ray.serve.config import HTTPOptions
from starlette.applications import Starlette

from service.errors import InvalidValue
from service.gateway import _start_http


async def test_it_listens_where_the_application_was_told_or_not_at_all() -> None:
    """The application decides by its address whether anybody needs a key."""
    loop = asyncio.get_running_loop()
    with pytest.raises(InvalidValue, match=r"0\.0\.0\.0.*QUICKCHANGE_HOST is 127\.0\.0\.1"):
        await _start_http("127.0.0.1", Starlette(), HTTPOptions(host="0.0.0.0", port=0), event_loop=loop)
    task, server = await _start_http("127.0.0.1", Starlette(), HTTPOptions(host="127.0.0.1", port=0), event_loop=loop)
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 404
    finally:
        server.should_exit = True
        await task
