"""The command line against a small real server: exit codes, files, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.arrivals import Closed
from loadtest.limits import Limit
from loadtest.measure import Measure, Quantity
from loadtest.scenario import Cast, Flow, Needs, Phase, Plan, Scenario, Work
from loadtest.scenarios import SCENARIOS
from tests.loadtest.server import Server


def plan(cast: Cast, scale: float) -> Plan:
    models = cast.adapters or (cast.base,)
    flow = Flow("few", models, Closed(workers=2, requests=6), Work(prompt_tokens=4, max_tokens=4))
    return Plan((Phase("steady", 60, (flow,)),), warm=models)


LIMITS = (Limit(Measure(Quantity.FAILED), at_most=0), Limit(Measure(Quantity.WRONG), at_most=0))
TINY = Scenario("tiny", "Does a handful of requests succeed?", lambda scale: Needs(), plan, LIMITS)
PAIR = Scenario("pair", "Do two adapters?", lambda scale: Needs(adapters=2), plan, LIMITS)


@pytest.fixture(autouse=True)
def scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits without times: a busy machine breaks none."""
    monkeypatch.setitem(SCENARIOS, "tiny", TINY)
    monkeypatch.setitem(SCENARIOS, "pair", PAIR)


def test_limits_that_hold_are_exit_code_0(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny", "--url", server.url, "--out", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out.splitlines()[-1])
    assert found["held"] is True
    assert found["scenarios"][0]["model"] == "base"  # the one without a parent, though listed last
    assert "held" in said.err
    assert [Path(name).name for name in found["scenarios"][0]["files"]] == [
        "result.json",
        "latency.png",
        "timeline.png",
    ]
    written = json.loads((tmp_path / "tiny" / "result.json").read_text())
    assert len(written["samples"]["sent_ms"]) == 6
    assert written["commit"]


def test_a_broken_limit_is_exit_code_1(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "tiny", "--url", server.url, "--model", "liar", "--out", str(tmp_path), "--no-plots"]
    assert main(arguments) == 1
    assert "BROKEN" in capsys.readouterr().out
    written = json.loads((tmp_path / "tiny" / "result.json").read_text())
    assert written["held"] is False
    assert [limit["held"] for limit in written["limits"]] == [True, False]
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["result.json"]


def test_one_broken_limit_of_several_scenarios_is_enough(server: Server, tmp_path: Path) -> None:
    given = ["--url", server.url, "--out", str(tmp_path), "--no-plots"]
    assert main(["run", "tiny", "pair", *given, "--models", "t/a,t/b"]) == 0
    assert main(["run", "tiny", "pair", *given, "--models", "t/a,liar"]) == 1


def test_a_model_that_does_not_answer_is_named(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "tiny", "--url", server.url, "--model", "refuses", "--out", str(tmp_path), "--no-plots"]
    assert main(arguments) == 1
    assert "refuses did not answer when it was first asked: 503 overloaded" in capsys.readouterr().err


def test_a_service_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny", "--url", "http://127.0.0.1:9/v1", "--out", str(tmp_path), "--no-plots"]) == 1
    assert "http://127.0.0.1:9/v1 does not answer" in capsys.readouterr().err


def test_a_url_without_v1_is_told_so(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny", "--url", server.url.removesuffix("/v1"), "--no-plots"]) == 1
    assert "--url ends in /v1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nothing"], "there is no scenario 'nothing': choose from base_closed"),
        (["run", "uniform", "--models", "t/a,t/b"], "name it with --url"),
        (["run", "uniform", "--url", "http://h/v1"], "uniform needs adapters: give --models with two or more"),
        (["run", "swap", "--url", "http://h/v1", "--models", "t/a,t/b"], "swap needs new adapters: give --registry"),
        (["run", "tiny", "--url", "localhost:8000"], "--url 'localhost:8000' is no address"),
        (["run", "tiny", "--scale", "0"], "'--scale'"),
        (["run", "tiny", "--faster"], "--faster"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_list_has_every_question_and_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for scenario in SCENARIOS.values():
        assert f"{scenario.name} {scenario.question}" in told
        for limit in scenario.limits:
            assert str(limit) in told
