"""The list of metrics, and the exposition made of it: complete, valid, bounded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from adapters_registry.edge.connections import ConnectionReport, Reason
from service.adapters.counts import StoreTally
from service.adapters.residency import Resident
from service.metrics import GatewayMetrics, exposition, names
from service.metrics.docs import table
from service.metrics.families import histogram
from service.metrics.labels import OTHER, Capped
from service.metrics.names import all_metrics
from service.report import CatalogReport, FleetReport, RecorderReport, ReplicaReport
from service.settings import MetricsOptions
from service.support.counting import Spread
from service.values import AdapterRef, ServedBase
from tests.deploy.tools import tool
from tests.service.serve.fake_engine import snapshot

BASE = ServedBase("smollm2", "sha256:" + "b" * 64, "/nowhere", 4096, 1000)
CATALOG = CatalogReport(seq=7, adapters=2, reachable=True, age_s=1.5)
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def ref(name: str, number: int = 1) -> AdapterRef:
    return AdapterRef("acme", name, number, f"sha256:{name}{number}")


def replica() -> ReplicaReport:
    """Three adapters' worth of states; two versions of one run."""
    engine = snapshot(
        running=2,
        waiting=1,
        kv_blocks_used=25,
        running_digests=(ref("a").digest, ref("a", 2).digest),
        waiting_digests=(ref("b").digest,),
    )
    adapters = (
        Resident(ref("a"), "ready", 100, 1),
        Resident(ref("a", 2), "ready", 100, 1),
        Resident(ref("b"), "ready", 50),
        Resident(ref("c"), "fetching", leases=3),
        Resident(ref("d"), "failed", error="adapter_failed", retry_after_s=1.0),
    )
    return ReplicaReport(BASE, engine, StoreTally(1000).seen(), adapters, disk_bytes=400)


def metrics() -> GatewayMetrics:
    metrics = GatewayMetrics(CollectorRegistry(), MetricsOptions())
    metrics.connections_are(lambda: ConnectionReport(3, {Reason.HEAD_TIMEOUT: 2}))
    metrics.serves(BASE)
    return metrics


def fleet() -> FleetReport:
    recorder = RecorderReport(10, 20, Spread((0.1,)).seen())
    return FleetReport({"r1": replica(), "r2": replica()}, ("r3",), 5, 1, recorder)


def families(accept: str = "") -> dict[str, Family]:
    body, content_type = exposition(metrics(), fleet(), CATALOG, accept)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    found = list(parse(body.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def value(name: str, **labels: str) -> float:
    samples = [sample for family in families().values() for sample in family.samples]
    (found,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found


# -- the list -------------------------------------------------------------------------------------------------


def test_the_page_is_made_from_the_list() -> None:
    assert PAGE.read_text() == table(), "python -m service.metrics > docs/metrics.md"


def test_names_say_what_they_are() -> None:
    for metric in all_metrics():
        assert re.fullmatch(r"quickchange_[a-z_]+|vllm:[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.used_by, metric.name
    listed = [metric.name for metric in all_metrics()]
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_exposition_holds_what_is_listed_and_nothing_else(accept: str) -> None:
    found = families(accept)
    listed = {metric.family: metric for metric in all_metrics()}
    assert set(found) == set(listed)
    for name, family in found.items():
        assert (family.type, family.documentation) == (listed[name].kind, listed[name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(listed[name].labels)
            assert not sample.name.endswith("_created")


def test_promtool_has_nothing_to_say() -> None:
    promtool = tool("promtool", "Debian package prometheus")
    body, _ = exposition(metrics(), fleet(), CATALOG, "")
    # Older ones take a colon for a recording rule's: vLLM's names are checked by the parsers above.
    own = "".join(line for line in body.decode().splitlines(keepends=True) if "vllm:" not in line)
    done = subprocess.run([promtool, "check", "metrics"], input=own, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_connections() -> None:
    assert value("quickchange_connections") == 3
    assert value("quickchange_connections_refused_total", reason="head_timeout") == 2
    assert value("quickchange_connections_refused_total", reason="full") == 0


# -- what stands behind the gateway ---------------------------------------------------------------------------


def test_states_of_a_fleet() -> None:
    assert (value("quickchange_replicas"), value("quickchange_replicas_silent")) == (3, 1)
    assert value("quickchange_adapter_bytes", replica="r1") == 250
    assert value("quickchange_adapters", replica="r1", state="ready") == 3
    assert value("quickchange_adapters", replica="r1", state="failed") == 1
    assert value("quickchange_adapter_load_failures_total", replica="r2", code="adapter_failed") == 0
    assert value("quickchange_catalog_age_seconds") == 1.5
    assert value("quickchange_response_records_dropped_total") == 1


def test_the_same_in_vllms_words() -> None:
    at = {"model_name": "smollm2", "replica": "r2"}
    assert value("vllm:num_requests_running", **at) == 2
    assert value("vllm:num_requests_waiting", **at) == 1 + 3
    assert value("vllm:kv_cache_usage_perc", **at) == 0.25
    sample = families()["vllm:lora_requests_info"].samples[0]
    assert sample.labels == {
        "max_lora": "64",
        "running_lora_adapters": "acme/a",
        "waiting_lora_adapters": "acme/b,acme/c",
        "replica": "r1",
    }
    assert sample.value == pytest.approx(1.8e9, rel=0.5)


def test_a_registry_that_never_answered_is_as_old_as_the_process() -> None:
    silent = CatalogReport(seq=None, adapters=0, reachable=False, age_s=None)
    body, _ = exposition(metrics(), FleetReport({}), silent, "")
    found = {family.name: family.samples for family in parse_text(body.decode())}
    assert found["quickchange_registry_reachable"][0].value == 0
    assert 0 <= found["quickchange_catalog_age_seconds"][0].value < 60


# -- counting -------------------------------------------------------------------------------------------------


def test_the_first_names_are_kept_and_the_rest_are_one() -> None:
    capped = Capped(2)
    assert [capped(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", OTHER, "a", OTHER, "b"]


@given(st.lists(st.floats(0, 4)))
def test_a_spread_is_what_prometheus_would_have_counted(values: list[float]) -> None:
    bounds = (0.5, 1.0, 2.0)
    spread = Spread(bounds)
    theirs = Histogram("x", names.QUEUE_S.help, ["replica"], buckets=bounds, registry=None)
    theirs.labels("r")
    for one in values:
        spread.add(one)
        theirs.labels("r").observe(one)
    ours = histogram(names.QUEUE_S, [(("r",), spread.seen())])
    wanted = [s for s in next(iter(theirs.collect())).samples if not s.name.endswith("_created")]
    assert [(s.name.rpartition("_")[2], s.labels) for s in ours.samples] == [
        (s.name.rpartition("_")[2], s.labels) for s in wanted
    ]
    assert [s.value for s in ours.samples] == pytest.approx([s.value for s in wanted])
    assert spread.seen().count == len(values)
