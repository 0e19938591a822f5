"""A signal that comes while ``quickchange up`` still loads ends it, and nothing is left."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.acceptance.up import STOP_S, Up, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def test_a_signal_while_loading_ends_it(small_base: Path, tmp_path: Path) -> None:
    """It comes when Ray runs and the deployments do not yet."""
    up = Up(tmp_path / "data", tmp_path / "log")

    def interrupt() -> None:
        eventually(lambda: up.processes("raylet/raylet"), 120)
        up.process.send_signal(signal.SIGTERM)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        with pytest.raises(AssertionError, match="stopped"):  # the last line of its log
            up.start("--base", str(small_base))
        eventually(lambda: up.process.poll() is not None and up.gone(), STOP_S)
    finally:
        interrupter.join()
        up.close()
