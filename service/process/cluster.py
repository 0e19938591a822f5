"""A separate Ray cluster on this machine: its environment, start, and complete end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.dispatch.dispatcher import DRAIN_S
from service.process.spare import PRELOAD, keep_spares
from service.settings import Settings

if TYPE_CHECKING:
    from service.report import FleetReport

APPLICATION = "quickchange"
SHUTDOWN_S = DRAIN_S + 2.0
"""Time limit of a regular stop. A stop takes at most 15 s, most of it for draining."""
REFUSE_S = 1.0
"""Bounds a call to the gateway while Ray ends; without Ray's own processes it may never answer."""
LAST_BYTES_S = 0.3
"""Time from the last token of the last request until its bytes are sent."""
RAY_LOG_BYTES = 8 << 20
"""Bound on each of Ray's log files, and on one earlier file of each."""
MEET_S = 5.0
RAY_S = 2.0
STARTING = 4
SERVE_LOGS: dict[str, Any] = {"enable_access_log": False, "log_level": "WARNING"}
OBJECT_STORE_BYTES = 100 << 20
"""Size of the object store, which is not used; Ray requires at least 75 MiB."""


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables of Ray and Serve; they must be set before Ray is imported.

    Workers inherit them from the raylet, which inherits them from this process.
    """
    return {
        # The gateway's own process answers HTTP, on one fixed port, without a proxy.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_LOG_TO_STDERR": "1",  # otherwise logs of replicas are lost
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(settings.port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(settings.port + 1),  # exclusive
        # There is no load balancer to deregister from, and a restarted gateway needs the same port at once.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_PORT_QUARANTINE_S": "0",
        "RAY_SERVE_SHUTDOWN_TIER_TIMEOUT_S": str(DRAIN_S),
        # Ray's processes listen on all interfaces and unpickle what they receive: callers need the token.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Ray's C++ handler prints a stack even for SIGTERM; Python's handler suffices for crashes.
        "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
        "PYTHONFAULTHANDLER": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_worker_niceness": "0",  # with Ray's 15, all other processes of the machine go before the engine
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Bounds Ray's own log files.
        "RAY_ROTATION_MAX_BYTES": str(RAY_LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": "1",
        # Replicas set their thread count themselves; without this Ray sets 1 and prints a message.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0))),
    }


class Cluster:
    """The Ray processes of this service. ``prepare`` imports Ray, after the environment is set."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """``directory`` is for Ray's sessions, and private."""
        self._settings = settings
        self._directory = directory
        self._gateway: Any = None
        """A handle, once the application runs."""
        self._warnings: tuple[str, ...] = ()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True).start()

    def prepare(self) -> None:
        """Set the environment and import Ray."""
        os.environ.update(environment(self._settings) | (PRELOAD if self._settings.spares else {}))
        import_module("service.serve.app")

    def start(self) -> Path:
        """Start Ray and an empty Serve; returns the directory of their logs."""
        import ray
        from ray import serve
        from ray.serve.config import HTTPOptions
        from ray.serve.schema import LoggingConfig

        context = ray.init(
            address="local",
            _temp_dir=str(self._directory),
            # Bounds the workers that Ray starts at the same time; the actors request no CPUs.
            num_cpus=min(STARTING, len(os.sched_getaffinity(0))),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(
            # Port 0, because Serve also starts a proxy, which is not used.
            http_options=HTTPOptions(host=self._settings.host, port=0),
            logging_config=LoggingConfig(**SERVE_LOGS),
        )
        return Path(context.address_info["session_dir"]) / "logs"

    def run(self, application: object) -> tuple[str, ...]:
        """Deploy and wait until it runs; raises ``RuntimeError`` with Serve's messages if it does not.

        Returns the replicas' warnings for the operator, without duplicates.
        """
        from ray import serve

        try:
            serve.run(application, name=APPLICATION, route_prefix="/", logging_config=SERVE_LOGS)
        except RuntimeError as error:
            # The error only names the deployments; the reason is in their status.
            messages = [
                deployment.message for deployment in serve.status().applications[APPLICATION].deployments.values()
            ]
            raise RuntimeError(
                "\n".join([str(error), *(message for message in messages if "Error" in message)])
            ) from error
        self._within(MEET_S, self._meet_gateway())
        keep_spares(self._settings.spares)
        return self._warnings

    def abandon(self) -> None:
        """Refuse new requests and let running ones finish within ``DRAIN_S``; calls only the gateway.

        The rest of Ray may have ended. The caller must end the processes that are left.
        """
        if self._gateway is not None:
            self._within(DRAIN_S + REFUSE_S, _let_finish(self._gateway))

    def stop(self) -> None:
        """Finish running requests within ``DRAIN_S``, then end Serve and Ray; some processes may be left."""
        # Ray prints on the driver's stdout that the controller, which ends itself, has died.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            self._within(SHUTDOWN_S, _drain_and_end(self._gateway))
            self._within(RAY_S, asyncio.to_thread(_end_ray))

    async def _meet_gateway(self) -> None:
        """Gets the gateway's handle at the start, because it cannot be looked up without the control store."""
        from ray import serve

        self._gateway = serve.get_app_handle(APPLICATION)
        await self._gateway.ready.remote()
        fleet: FleetReport = await self._gateway.inspect.remote()
        reasons = {replica.engine.fallback for replica in fleet.replicas.values()} - {None}
        self._warnings = tuple(sorted(f"warning: {text}" for text in reasons))

    def _within(self, limit_s: float, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` on the loop to which the gateway's handle belongs, for at most ``limit_s``."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(work, self._loop).result(limit_s)


async def _let_finish(gateway: Any) -> None:
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    with contextlib.suppress(RayServeException, RayError, TimeoutError):
        async with asyncio.timeout(REFUSE_S):
            await gateway.drain.remote()
        await gateway.idle.remote()
        await asyncio.sleep(LAST_BYTES_S)


async def _drain_and_end(gateway: Any) -> None:
    """Lets running requests finish, refuses new ones, then ends Serve's actors, callers before callees."""
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    if not ray.is_initialized():
        return
    with contextlib.suppress(RayServeException, RayError, TimeoutError):  # it may not run, and is ended in any case
        if gateway is not None:
            async with asyncio.timeout(REFUSE_S):
                await gateway.drain.remote()
    await serve.shutdown_async()


def _end_ray() -> None:
    import ray

    ray.shutdown()
