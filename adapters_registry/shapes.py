"""The tensors of each kind of adapter: roles and shapes, for the registry's check and the service's reader."""

from __future__ import annotations

from collections.abc import Callable

from adapters_registry.manifest import AdaptedModule, BaseManifest, BaseModule, LoraModule

Shape = tuple[int, ...]


def shapes(kind: str, module: AdaptedModule, base: BaseManifest) -> dict[str, Shape]:
    """By role, the shape that each tensor of ``module`` must have on ``base``, which has the module.

    ``KeyError`` for a kind or a role that this release does not know: ``capabilities.needs`` names both.
    """
    known = _KINDS[kind](module, base.modules[module.module])
    if unknown := module.tensors.keys() - known:
        raise KeyError(min(unknown))
    return {role: shape for role, shape in known.items() if role in module.tensors}


def _lora(module: AdaptedModule, site: BaseModule) -> dict[str, Shape]:
    assert isinstance(module, LoraModule)
    return {
        "a": (module.rank, site.in_features),
        "b": (site.out_features, module.rank),
        "b_bias": (site.out_features,),
        "bias": (site.out_features,),
    }


_KINDS: dict[str, Callable[[AdaptedModule, BaseModule], dict[str, Shape]]] = {"lora": _lora}
