"""Feedback on a running service: judged and exported as rows that TRL takes."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import datasets
import httpx
import pytest
import trl
from openai import OpenAI

from service.settings import BUNDLED_BASE as MODEL
from tests.acceptance.up import Up

pytestmark = pytest.mark.acceptance


def ask(up: Up, content: str, **more: Any) -> str:
    """The id of an answer to ``content``."""
    with OpenAI(base_url=f"{up.url}/v1", api_key="none") as client:
        messages: Any = [{"role": "user", "content": content}]
        return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, **more).id


def send(up: Up, *events: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{up.url}/v1/feedback", json={"events": list(events)}, timeout=30.0)


def test_from_an_answer_to_rows_that_trl_takes(up: Up, tmp_path: Path) -> None:
    source = uuid.uuid4().hex
    prompts = [f"Say the number {i}." for i in range(4)]
    pairs = [(ask(up, prompt), ask(up, prompt, temperature=2.0, seed=i)) for i, prompt in enumerate(prompts)]
    events = [
        {
            "kind": "preference",
            "target": {"a": {"response_id": a}, "b": {"response_id": b}},
            "value": "a" if i % 2 else "b",
            "source": source,
        }
        for i, (a, b) in enumerate(pairs)
    ]
    response = send(up, *events)
    assert response.status_code == 202, response.text
    out = tmp_path / "rows"
    options = ["--format", "dpo", "--source", source, "--held-out", "0.0", "--data-dir", str(up.data_dir), "--json"]
    options += ["--include", "cut_off"]  # of these few tokens most answers are
    command = [sys.executable, "-m", "service", "feedback", "export", str(out), *options]
    manifest = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert manifest["rows"] + manifest["left"].get("self_pair", 0) == manifest["events"] == 4
    [file] = manifest["files"]
    rows = datasets.load_dataset(
        "json", data_files=str(out / file["name"]), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert trl.is_conversational(rows[0])
    assert {row["prompt"][0]["content"] for row in rows} <= set(prompts)


def test_an_answer_that_its_reader_stopped_can_be_judged(up: Up) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a very long story."}], "max_tokens": 900}
    with httpx.stream("POST", f"{up.url}/v1/chat/completions", json=body | {"stream": True}, timeout=60.0) as answer:
        first = next(line for line in answer.iter_lines() if line)
    target = {"response_id": json.loads(first.removeprefix("data: "))["id"]}
    response = send(up, {"kind": "binary", "target": target, "value": False})
    assert response.status_code == 202, response.text
