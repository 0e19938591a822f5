"""Imported by each Ray worker at its start: a worker that stays idle (a spare) imports the modules of a replica.

So the replacement of a dead replica or gateway has most of its start done. Workers that are used at once import what
they need themselves; this does nothing in them.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

IDLE_S = 3.0
"""A worker without an actor after this time is a spare."""
WORKER = "default_worker.py"
"""The program that a worker of Ray runs."""
MODULES = (
    "ray.serve._private.replica",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "service.serve.app",
    "service.api.routes",
    "service.access.catalog",
    "service.metrics",
    "service.base",
    "service.engine.load",
    "service.engine.loop",
    "service.adapters.loader",
    "service.adapters.store",
    "service.adapters.source",
)


def warm() -> None:
    """Import all of ``MODULES``, unless this worker is in use.

    Runs at normal priority, because a replica that gets this worker meanwhile waits for the current import.
    """
    time.sleep(IDLE_S)
    for name in MODULES:
        if _in_use():
            return
        # An error of an import is reported where the module is used.
        with contextlib.suppress(Exception):
            import_module(name)


def _in_use() -> bool:
    worker = sys.modules.get("ray._private.worker")
    return worker is None or not worker.global_worker.connected or not worker.global_worker.actor_id.is_nil()


if Path(sys.argv[0]).name == WORKER:  # not if it is imported for another reason
    threading.Thread(target=warm, name="warm", daemon=True).start()
