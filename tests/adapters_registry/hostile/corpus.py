"""The whole corpus of bad artifacts, by what is wrong with them."""

from __future__ import annotations

from tests.adapters_registry.hostile.case import Case
from tests.adapters_registry.hostile.configs import CONFIGS
from tests.adapters_registry.hostile.folders import FOLDERS
from tests.adapters_registry.hostile.headers import HEADERS
from tests.adapters_registry.hostile.tensors import TENSORS

GROUPS: dict[str, tuple[Case, ...]] = {
    "Files": FOLDERS,
    "`adapter_config.json`": CONFIGS,
    "`adapter_model.safetensors`: the container": HEADERS,
    "`adapter_model.safetensors`: the tensors": TENSORS,
}
CORPUS: tuple[Case, ...] = tuple(case for cases in GROUPS.values() for case in cases)
