"""The engine port, used as its page shows."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from safetensors.torch import load_file

from service.engine.load import load_engine
from service.settings import EngineOptions
from service.values import FinishReason, GenerateRequest, SamplingParams
from tests.engines import bound_adapter, judged, run_jobs
from tests.models import lora_configs, random_adapter, save, tiny_base
from tests.promises import prompt_of

PAGE = Path(__file__).parents[3] / "docs" / "engine-port.md"


def test_the_use_on_its_page_gives_what_the_engine_gives(tmp_path: Path) -> None:
    base = tiny_base("llama")
    folder = save(random_adapter(base, lora_configs("llama")[1], 0), tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    used = {
        "model": copy.deepcopy(base),
        "manifest": judged(base, folder),
        "tensors": load_file(folder / "adapter_model.safetensors"),
        "prompt": tuple(prompt_of(0)),
    }
    exec(compile(code, PAGE.name, "exec"), used)

    engine = load_engine(copy.deepcopy(base), EngineOptions(kv_cache_bytes=1 << 20), name="base")
    greedy = SamplingParams(max_tokens=8, temperature=0)
    ask = {name: GenerateRequest(name, "t", used["prompt"], greedy, 60) for name in ("r1", "r2")}
    wanted = run_jobs(engine, [(ask["r1"], bound_adapter(engine, base, folder)), (ask["r2"], None)])
    assert wanted["r1"] != wanted["r2"]
    answers = used["answers"]
    assert answers["r1", 0] == answers["r1", 1] == wanted["r1"]
    assert answers["r2", 0] == wanted["r2"]
    assert set(used["finished"].values()) <= {FinishReason.LENGTH, FinishReason.STOP, FinishReason.CANCELLED}
    assert used["port"].failed is None
