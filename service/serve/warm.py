"""Imported by each worker of Ray as it starts: one that stays idle, the spare, imports what a replica needs.

So a replica or gateway that takes a dead one's place finds most of its start done. Workers that are wanted at once
import what they need themselves, and this does nothing there.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

IDLE_S = 3.0
"""A worker that has no actor by then is a spare."""
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

    At the usual priority: a replica that takes this worker meanwhile waits for the module that is being imported.
    """
    time.sleep(IDLE_S)
    for name in MODULES:
        if _in_use():
            return
        # An error of a module is reported where the module is needed.
        with contextlib.suppress(Exception):
            import_module(name)


def _in_use() -> bool:
    worker = sys.modules.get("ray._private.worker")
    return worker is None or not worker.global_worker.connected or not worker.global_worker.actor_id.is_nil()


if Path(sys.argv[0]).name == WORKER:  # not where this is imported for another reason
    threading.Thread(target=warm, name="warm", daemon=True).start()
