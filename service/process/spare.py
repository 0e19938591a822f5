"""Keeps idle Ray workers, so that a dead replica or gateway is replaced by a process with all imports done.

Ray itself ends idle workers after a second, except workers that were requested as here.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import psutil

from adapters_registry.background import background_thread

logger = logging.getLogger(__name__)

LOOK_S = 2.0
CALL_S = 5.0
KEEP_S = 10**8
"""How long an idle worker is kept: longer than any service runs."""
IDLE, STARTING = "ray::IDLE", "default_worker.py"
PRELOAD = {"RAY_preload_python_modules": "service.serve.warm"}
"""Environment variables that the node manager needs."""


def keep_spares(wanted: int) -> None:
    """Keep ``wanted`` idle workers from now on. Ray must be connected, with its node manager below this process."""
    if wanted:
        background_thread(lambda: _keep(wanted), "spares", threading.Event()).start()


def _keep(wanted: int) -> None:
    import grpc

    never = threading.Event()
    while not never.wait(LOOK_S):
        missing = wanted - _idle()
        if missing <= 0:
            continue
        try:
            _ask_for(missing)
        except grpc.RpcError as error:  # the node manager may have ended, and then all of Ray has
            logger.warning("no spare worker: %s", error)


def _idle() -> int:
    """Number of workers without an actor, including starting ones."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        found += bool(line) and (line[0].startswith(IDLE) or any(part.endswith(STARTING) for part in line[:4]))
    return found


def _ask_for(workers: int) -> None:
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

    node: dict[str, Any] = next(node for node in ray.nodes() if node["Alive"])
    request = node_manager_pb2.PrestartWorkersRequest(
        language=0,  # Python
        job_id=bytes.fromhex(ray.get_runtime_context().get_job_id()),
        num_workers=workers,
        keep_alive_duration_secs=KEEP_S,
    )
    with init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") as channel:
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=CALL_S)
