"""Manifests of earlier formats: converted to this release's when read, and written as the earlier release did.

::

    1    modules: {"module", "rank", "scale", "a", "b", "b_bias", "bias"}          LoRA only; null if absent
    2    modules: {"module", "tensors": {role: name}, and the kind's parameters}; "needs"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ROLES = ("a", "b", "b_bias", "bias")
"""Of format 1, in which each role is a field."""
_FIELDS = frozenset({"format", "kind", "base", "rank", "dtype", "files", "modules"})
_PARAMETERS = frozenset({"module", "rank", "scale"})


def current(data: Any, newest: int) -> Any:
    """``data``, the fields of a manifest, in format 2; without modules if its format is newer than ``newest``, as
    their meaning is then unknown. Anything else is returned unchanged.
    """
    if not isinstance(data, Mapping):
        return data
    if is_newer(data.get("format"), newest):
        return {name: value for name, value in data.items() if name != "modules"}
    if data.get("format") != 1 or not isinstance(data.get("modules"), list):
        return data
    return {**data, "modules": [_module(module) for module in data["modules"]]}


def is_newer(format: object, newest: int) -> bool:
    """Whether the format is newer than ``newest``, the newest that the reader knows."""
    return isinstance(format, int) and format > newest


def in_format_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a format 2 manifest as an earlier release wrote them; ``ValueError`` if format 1 cannot express
    them."""
    if fields.keys() - _FIELDS or fields["kind"] != "lora":
        raise ValueError("format 1 has plain LoRA only")
    return {**fields, "format": 1, "modules": [_module_1(module) for module in fields["modules"]]}


def _module(module: Any) -> Any:
    if not isinstance(module, Mapping):
        return module
    rest = {name: value for name, value in module.items() if name not in _ROLES}
    return rest | {"tensors": {role: module[role] for role in _ROLES if module.get(role) is not None}}


def _module_1(module: Mapping[str, Any]) -> dict[str, Any]:
    tensors = module["tensors"]
    if tensors.keys() - set(_ROLES) or module.keys() != _PARAMETERS | {"tensors"}:
        raise ValueError(f"format 1 cannot say what is done to {module['module']}")
    return {name: module[name] for name in _PARAMETERS} | {role: tensors.get(role) for role in _ROLES}
