"""A child process that is restarted when it ends, and is ended with its parent."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import partial

from adapters_registry.background import Pauses, background_thread
from service.process.keeper import die_with_parent

logger = logging.getLogger(__name__)

STOP_S = 2.0


class Child:
    """One supervised process."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """``environment`` is added to this process's own. Pass secrets there: command lines are public."""
        self._name = name
        self._environment = {**os.environ, **(environment or {})}
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = background_thread(self._supervise, name, self._stopping)
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Id of the current process, or of the last one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Terminate it, wait, then kill it; it is not restarted."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.ident is not None:
            self._thread.join()

    def _supervise(self) -> None:
        pauses = Pauses()
        while not self._stopping.is_set():
            pauses.begin()
            code = self._run_once()
            if self._stopping.is_set():
                return
            pause_s = pauses.after_failure()
            logger.warning("%s ended with %s; starting it again in %g s", self._name, code, pause_s)
            self._stopping.wait(pause_s)

    def _run_once(self) -> int:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            env=self._environment,
            # The signal is sent when the thread that started the child ends, so this thread must not end before.
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )
        self.starts += 1
        if self._stopping.is_set():  # stop() may have run before the process existed
            self._process.terminate()
        return self._process.wait()
