"""Runs an engine on a separate thread, so that no forward pass blocks an event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from torch import Tensor

from adapters_registry.manifest import Manifest
from service.engine.adapter import BoundAdapter
from service.engine.engine import Engine
from service.engine.port import Deliver
from service.engine.snapshot import EngineSnapshot
from service.engine.trial import Trials
from service.values import GenerateRequest

logger = logging.getLogger(__name__)

IDLE_S = 0.5
"""Interval at which an idle loop updates its heartbeat."""


class EngineLoop:
    """Steps an engine while it has work; implements the port (``service.engine.port``).

    Callers never wait for a step: they queue commands, which the engine's thread runs before the next step.
    """

    def __init__(self, engine: Engine, deliver: Deliver, trials: Trials | None = None) -> None:
        self.engine = engine
        self._trials = trials or Trials()
        self._trials.wake = self._notify
        self.failed: BaseException | None = None
        """Set if the thread failed; nothing is delivered from then on."""
        self._deliver = deliver
        self._commands: deque[Callable[[], None]] = deque()
        self._queued: Counter[str] = Counter()
        """Sequences in queued commands, by tenant; they count as waiting, since a step may take long."""
        self._wake = threading.Condition()
        self._stopping = False
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the current step and end the thread; unfinished sequences are dropped."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def bind(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> BoundAdapter:
        """Bind the artifact's ``tensors``, by name. Raises ``AdapterIncompatible``."""
        self.engine.check_adapter(manifest)
        slab = self.engine.canonicalise(manifest, tensors)
        return self.engine.bind(manifest.digest, manifest.kind, slab)

    def submit(self, request: GenerateRequest, adapter: BoundAdapter | None) -> None:
        """Queue a request. Raises the errors of ``Engine.check`` and ``check_room`` at once."""
        self.engine.check(request, adapter)
        now = time.monotonic()

        def enqueue() -> None:
            self.engine.enqueue(request, adapter, now)
            with self._wake:
                self._queued -= Counter({request.tenant: request.n})

        with self._wake:
            self.engine.check_room(request, self._queued)
            self._queued[request.tenant] += request.n
            self._commands.append(enqueue)
            self._wake.notify()

    def cancel(self, request_id: str) -> None:
        self._leave(lambda: self.engine.cancel(request_id))

    def snapshot(self) -> EngineSnapshot:
        return self.engine.snapshot()

    def heartbeat_age_s(self) -> float:
        """Seconds since the loop's last heartbeat; it grows during a step."""
        return time.monotonic() - self._beat

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    def _leave(self, command: Callable[[], None]) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:
            self.failed = error
            logger.exception("the engine's thread died")
        finally:
            self._trials.close()

    def _turn(self) -> None:
        self._beat = time.monotonic()
        with self._wake:
            if not (self._commands or self._trials.waiting or self.engine.has_work() or self._stopping):
                self._wake.wait(IDLE_S)
            commands = list(self._commands)
            self._commands.clear()
        for command in commands:
            command()
        if self._trials.due(busy=self.engine.has_work()):
            self._trials.try_next(self.engine.try_adapter)
        if self.engine.has_work():
            events = self.engine.step()
            if events:
                self._deliver(events)
