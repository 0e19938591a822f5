"""One file per scenario."""

from __future__ import annotations

from loadtest.scenario import Scenario
from loadtest.scenarios import (
    base_closed,
    base_open,
    cold_storm,
    disconnects,
    rivals,
    slow_readers,
    swap,
    uniform,
    zipf,
)

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (base_closed, base_open, uniform, zipf, cold_storm, swap, slow_readers, disconnects, rivals)
}
