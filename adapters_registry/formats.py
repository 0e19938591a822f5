"""Manifests of earlier formats: read as this release's, and written again as the release that made them did.

::

    1    modules: {"module", "rank", "scale", "a", "b", "b_bias", "bias"}          LoRA only; null where there is none
    2    modules: {"module", "tensors": {role: name}, and the kind's parameters}; "needs"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ROLES = ("a", "b", "b_bias", "bias")
"""Of format 1, in which each is a field."""
_FIELDS = frozenset({"format", "kind", "base", "rank", "dtype", "files", "modules"})
_PARAMETERS = frozenset({"module", "rank", "scale"})


def current(data: Any, newest: int) -> Any:
    """``data``, the fields of a manifest, as format 2 has them; without modules if it is newer than ``newest``, for
    who knows what they are then. Anything else comes back as it is.
    """
    if not isinstance(data, Mapping):
        return data
    if is_newer(data.get("format"), newest):
        return {name: value for name, value in data.items() if name != "modules"}
    if data.get("format") != 1 or not isinstance(data.get("modules"), list):
        return data
    return {**data, "modules": [_module(module) for module in data["modules"]]}


def is_newer(format: object, newest: int) -> bool:
    """Whether it is a format beyond the ``newest`` that the reader knows."""
    return isinstance(format, int) and format > newest


def in_format_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a manifest of format 2 as a past release wrote them; ``ValueError`` if it could not say them."""
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
