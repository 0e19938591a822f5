"""Dashboard and alerts: made from the list of metrics, of series that exist, tested to fire and not to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.api.status import STATUS
from service.metrics.names import Metric, all_metrics
from tests.deploy.tools import ROOT, run, tool

MONITORING = ROOT / "deploy" / "monitoring"
ALERT = "Quickchange"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


def rows() -> dict[str, list[str]]:
    """The dashboard's queries by row."""
    found: dict[str, list[str]] = {}
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        if panel["type"] == "row":
            row = found[panel["title"]] = []
        else:
            row += [target["expr"] for target in panel["targets"]]
    return found


def names_in(query: str) -> set[str]:
    """Metrics that a query reads; a histogram's series are its own."""
    listed = {metric.name for metric in all_metrics()}
    found = set(re.findall(r"quickchange_[a-z_]+|vllm:[a-z_]+", query))
    return {name if name in listed else re.sub("_(bucket|sum|count)$", "", name) for name in found}


def test_the_dashboard_is_made_from_the_code() -> None:
    made = subprocess.run(
        [sys.executable, str(MONITORING / "dashboard.py")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (MONITORING / "dashboard.json").read_text() == made.stdout, (
        "python deploy/monitoring/dashboard.py > deploy/monitoring/dashboard.json"
    )


def test_every_metric_says_who_uses_it() -> None:
    users: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"dashboard": [], "alert": []})
    for row, queries in rows().items():
        for name in {name for query in queries for name in names_in(query)}:
            users[name]["dashboard"].append(row)
    for rule in rules():
        for name in names_in(rule["expr"]):
            users[name]["alert"].append(rule["alert"].removeprefix(ALERT))
    listed = {metric.name: metric for metric in all_metrics()}
    assert users.keys() <= listed.keys()
    wrong = {name: _used_by(users[name]) for name in listed if not _says(listed[name], users[name])}
    assert wrong == {}


def _says(metric: Metric, users: dict[str, list[str]]) -> bool:
    if metric.name.startswith("vllm:"):
        return not users["dashboard"] and not users["alert"]
    return metric.used_by == _used_by(users)


def _used_by(users: dict[str, list[str]]) -> str:
    return "; ".join(f"{who}: {', '.join(where)}" for who, where in users.items() if where)


def test_alerts_do_what_they_say() -> None:
    promtool = tool("promtool", "Debian package prometheus")
    run(promtool, "check", "rules", str(MONITORING / "alerts.yml"))
    run(promtool, "test", "rules", str(MONITORING / "alerts_test.yml"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_is_shown_to_fire_and_not_to(rule: dict[str, Any]) -> None:
    cases = [
        case
        for test in yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == rule["alert"]
    ]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}


def test_the_error_rate_counts_what_is_no_client_s_fault() -> None:
    (rule,) = [rule for rule in rules() if rule["alert"] == "QuickchangeErrorRate"]
    (codes,) = re.findall(r'code=~"([a-z_|]+)"', rule["expr"])
    assert codes.split("|") == sorted({error.code for error, row in STATUS.items() if row.status >= 500})


@pytest.mark.parametrize("config", sorted(MONITORING.glob("prometheus*.yml")), ids=lambda path: path.name)
def test_prometheus_loads_the_rules(config: Path) -> None:
    assert yaml.safe_load(config.read_text())["rule_files"] == ["alerts.yml"]
