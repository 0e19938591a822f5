"""What of Ray's processes must live, and when the service counts as lost."""

from __future__ import annotations

import subprocess
import sys

import psutil

from service.process import vital
from service.process.vital import (
    CONTROL_STORE,
    CONTROLLER,
    CONTROLLER_S,
    NODE_MANAGER,
    STOPPED_S,
    UNREADY_S,
    Vital,
    Watch,
)

WELL = {CONTROL_STORE: Vital(1, False), NODE_MANAGER: Vital(2, False), CONTROLLER: Vital(3, False)}


def without(name: str) -> dict[str, Vital]:
    return {other: process for other, process in WELL.items() if other != name}


def test_control_store_and_node_manager_are_not_waited_for() -> None:
    for name in (CONTROL_STORE, NODE_MANAGER):
        watch = Watch()
        assert watch.processes({}, 0.0) is None  # not started yet
        assert watch.processes(WELL, 1.0) is None
        assert watch.processes(without(name), 2.0) == f"{name} died"


def test_a_controller_that_ray_starts_again_is_not_lost() -> None:
    watch = Watch()
    assert watch.processes(WELL, 0.0) is None
    assert watch.processes(without(CONTROLLER), 1.0) is None
    assert watch.processes(WELL, 5.0) is None
    assert watch.processes(without(CONTROLLER), 10.0) is None
    assert watch.processes(without(CONTROLLER), 10.0 + CONTROLLER_S - 1) is None
    lost = watch.processes(without(CONTROLLER), 10.0 + CONTROLLER_S)
    assert lost is not None
    assert lost.startswith(f"{CONTROLLER} died")


def test_a_process_that_stays_stopped_is_lost() -> None:
    for name in WELL:
        watch, stopped = Watch(), WELL | {name: Vital(9, True)}
        assert watch.processes(stopped, 0.0) is None
        assert watch.processes(WELL, STOPPED_S) is None  # it went on
        assert watch.processes(stopped, 100.0) is None
        assert watch.processes(stopped, 100.0 + STOPPED_S) == f"{name} has been stopped for {STOPPED_S:g} s"


def test_a_service_that_stays_unready_is_lost_unless_its_registry_is_away() -> None:
    watch = Watch()
    assert watch.readiness(ready=False, registry_answers=True, now_s=0.0) is None
    assert watch.readiness(ready=True, registry_answers=True, now_s=UNREADY_S) is None
    assert watch.readiness(ready=False, registry_answers=False, now_s=UNREADY_S + 1) is None
    assert watch.readiness(ready=False, registry_answers=True, now_s=200.0) is None
    assert watch.readiness(ready=False, registry_answers=True, now_s=200.0 + UNREADY_S) is not None


def test_only_what_lives_below_is_found() -> None:
    sleep = "import sys, time; time.sleep(60)"
    child = subprocess.Popen(["/opt/ray/raylet/raylet", "-c", sleep], executable=sys.executable)
    try:
        assert vital.find(psutil.Process()) == {NODE_MANAGER: Vital(child.pid, False)}
    finally:
        child.kill()
    child_is_zombie = psutil.Process(child.pid)
    while child_is_zombie.status() != psutil.STATUS_ZOMBIE:
        pass
    assert vital.find(psutil.Process()) == {}
    child.wait()
