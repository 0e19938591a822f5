"""A real Prometheus over the running service: every panel and alert has its series, and no client can add any."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.up import Up, eventually, free_port

pytestmark = pytest.mark.acceptance

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
BASE = "smollm2-135m-instruct"
RUNNING = "vllm:num_requests_running"


def series(up: Up) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(httpx.get(f"{up.url}/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(up: Up, name: str) -> float:
    return sum(value for (found, _), value in series(up).items() if found == name)


@pytest.fixture(scope="module")
def loaded(up: Up, folders: list[Path]) -> Up:
    """The service after a little of everything: tenants, adapters, streams, feedback, mistakes."""
    models = [BASE, "acme/metrics", "globex/metrics", "default/metrics"]
    for folder, model in zip(folders, models[1:], strict=True):
        up.quickchange("push", str(folder), model)
    with httpx.Client(base_url=up.url, timeout=60.0) as client:
        for model in models:
            eventually(lambda model=model: client.get(f"/v1/models/{model}").status_code == 200)  # type: ignore[misc]
        for model in models * 2:
            body = {"model": model, "prompt": "Once upon a time", "max_tokens": 8, "ignore_eos": True}
            answer = client.post("/v1/completions", json=body)
            assert answer.status_code == 200
            assert client.post("/v1/completions", json=body | {"stream": True}).status_code == 200
        event = {"kind": "binary", "value": True, "target": {"response_id": answer.json()["id"]}}
        assert client.post("/v1/feedback", json=event).status_code == 202
        assert client.post("/v1/feedback", json=event | {"value": "yes"}).status_code == 400
        assert client.post("/v1/completions", json={"model": "no/such", "prompt": "x"}).status_code == 404
    return up


class Prometheus:
    """What its HTTP API says."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, text: str) -> list[Any]:
        """The samples of an instant query; an expression that does not parse fails the test."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": text}, timeout=30.0).json()
        assert answer["status"] == "success", (text, answer)
        return list(answer["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        groups = httpx.get(f"{self._url}/api/v1/rules", timeout=30.0).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def is_ready(self) -> bool:
        return httpx.get(f"{self._url}/-/ready", timeout=30.0).status_code == 200


@pytest.fixture(scope="module")
def prometheus(loaded: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With our configuration but for the address, scraping each second; it has seen the load a few times."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("not checked: prometheus is not installed (Debian package prometheus)")
    root, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{loaded.port}"]}]
    (root / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={root / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        eventually(found.is_ready)
        eventually(lambda: _number(found.query('count_over_time(up{job="quickchange"}[1m])')) >= 4)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _number(result: list[Any]) -> float:
    return float(result[0]["value"][1]) if result else 0.0


def test_it_is_scraped(prometheus: Prometheus) -> None:
    assert _number(prometheus.query('up{job="quickchange"}')) == 1
    assert len(prometheus.query('{__name__=~"vllm:.+"}')) == 4, "a colon must survive the way"
    assert prometheus.query("quickchange_build_info")[0]["metric"]["base"] == BASE


def _panels() -> list[tuple[str, str]]:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


def test_no_panel_is_empty(prometheus: Prometheus) -> None:
    values = {"$__rate_interval": "1m", "$replica": ".*", "$tenant": ".*"}
    queries = {
        (title, re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], query))
        for title, query in _panels()
    }
    assert {(title, query) for title, query in queries if not prometheus.query(query)} == set()


def test_what_happened_is_shown(prometheus: Prometheus) -> None:
    seen = {sample["metric"]["adapter"] for sample in prometheus.query("quickchange_adapter_requests_total > 0")}
    assert {"base", "acme/metrics", "globex/metrics", "default/metrics"} <= seen
    for name in ("first_token", "inter_token", "step", "queue", "feedback_commit"):
        assert _number(prometheus.query(f"sum(quickchange_{name}_seconds_count)")) > 0, name
    # Not the fetches: slabs of an earlier run may still be in the cache directory.
    assert _number(prometheus.query('sum(quickchange_adapter_load_seconds_count{stage="slab"})')) >= 3
    assert _number(prometheus.query('quickchange_feedback_refused_total{code="invalid_value"}')) >= 1


def test_every_alert_has_its_series(prometheus: Prometheus) -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        prometheus.query(rule["expr"])
        selectors = re.findall(r"(?:quickchange_[a-z_]+|\bup)(?:\{[^}]*\})?", rule["expr"])
        assert selectors
        assert [selector for selector in selectors if not prometheus.query(selector)] == [], rule["alert"]
    assert [rule["name"] for rule in prometheus.rules()] == [rule["alert"] for rule in rules]
    assert {rule["health"] for rule in prometheus.rules()} == {"ok"}


def test_no_client_can_add_series(loaded: Up) -> None:
    names = [f"acme/unknown-{i}" for i in range(10_000)] + [f"tenant-{i}/x" for i in range(1000)]

    def ask(mine: list[str]) -> set[int]:
        """The statuses that came."""
        statuses = set()
        # A tenth of a full client's cost.
        with closing(HTTPConnection("127.0.0.1", loaded.port, timeout=60.0)) as connection:
            for name in mine:
                body = json.dumps({"model": name, "prompt": "x"})
                connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                statuses.add(answer.status)
        return statuses

    before = series(loaded)
    requests = total(loaded, "quickchange_requests_total")
    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(ask, [names[at::4] for at in range(4)])) == {404}
    assert total(loaded, "quickchange_requests_total") >= requests + 11_000
    new = {key for key in series(loaded).keys() - before.keys() if ("route", "/metrics") not in key[1]}
    assert new == set()


def test_a_client_that_hangs_up_stops_what_runs_for_it(up: Up) -> None:
    body = {"model": BASE, "prompt": "Once", "max_tokens": 1500, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{up.url}/v1/completions", json=body, timeout=60.0) as answer:
        lines = answer.iter_lines()
        for _ in range(3):
            next(lines)
        assert total(up, RUNNING) == 1
    eventually(lambda: total(up, RUNNING) == 0, 2.0)
    assert total(up, "quickchange_kv_blocks_used") == 0
    hung_up = {"method": "POST", "route": "/v1/completions", "status": "499"}
    assert series(up)["quickchange_requests_total", frozenset(hung_up.items())] >= 1
