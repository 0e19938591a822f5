"""A LoRA file's tensor names to modules of the base: as PEFT writes them, and as in raw state dicts.

    base_model.model.<module>.lora_A.weight             PEFT's save_pretrained
    base_model.model.<module>.lora_A.<adapter>.weight   a state dict: contains the adapter's name
    _orig_mod.…  …._fsdp_wrapped_module.…  module.…     wrappers of torch.compile, FSDP and DDP, at any position
    <module>.lora_A.weight                              without PEFT's prefix
    base_model.model.layers.0.…                         trained on the inner model: the base's own prefix is missing

Other forms than PEFT's are accepted only if the whole file can be read in exactly one way, and are noted. PEFT itself
would load most of these files without a message and change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters_registry.errors import UnexpectedTensor, UnknownModule
from adapters_registry.findings import Note
from adapters_registry.kinds.copies import COPIED
from adapters_registry.manifest import BaseManifest

PREFIX = "base_model.model."
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_MATRICES = {("lora_A", "weight"): "a", ("lora_B", "weight"): "b", ("lora_B", "bias"): "b_bias"}
_REMEDIES = {
    "lora_magnitude_vector": "DoRA is not supported yet: train with use_dora=False",
    "lora_embedding_A": "LoRA on embeddings is not supported yet: train on the projections of the decoder layers",
    "lora_embedding_B": "LoRA on embeddings is not supported yet: train on the projections of the decoder layers",
    "modules_to_save": "trained modules are not supported yet: train without modules_to_save",
    "trainable_tokens_delta": "trained tokens are not supported yet: train without trainable_token_indices",
    "lora_a": "MLX has a layout of its own: convert the adapter to PEFT's",
    "lora_b": "MLX has a layout of its own: convert the adapter to PEFT's",
}
"""By a part of the name."""


@dataclass(slots=True)
class Names:
    """The names of one file's tensors, resolved."""

    modules: dict[str, dict[str, str]] = field(default_factory=dict)
    """By module and part (a, b, b_bias, bias): the tensor's name."""
    copies: dict[str, str] = field(default_factory=dict)
    """By tensor: the module whose weight it should be a copy of."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class _Split:
    """The parts of one tensor's name."""

    tensor: str
    module: str
    """Without wrappers and PEFT's prefix."""
    part: str
    """a, b, b_bias, bias or weight."""
    adapter: str | None
    wrapped: bool
    prefixed: bool


def read_names(tensors: Iterable[str], base: BaseManifest) -> Names:
    """Resolves each of ``tensors``; refuses names that are no part of a LoRA, and a file that can be read in two
    ways."""
    splits = [_split(tensor) for tensor in sorted(tensors)]
    adapters = {split.adapter for split in splits if split.part in ("a", "b", "b_bias")}
    if len(adapters) > 1:
        raise UnexpectedTensor(
            f"The file holds several adapters ({', '.join(sorted(name or 'without a name' for name in adapters))}): "
            "save one, save_pretrained(..., selected_adapters=[NAME]).",
            param=next(split.tensor for split in splits if split.adapter),
        )
    inner = _inner_prefix(splits, base)
    names = Names(notes=_notes(splits, inner))
    for split in splits:
        _add(names, split, inner + split.module, base)
    return names


def _split(tensor: str) -> _Split:
    steps = tensor.split(".")
    if not _REMEDIES.keys().isdisjoint(steps):
        raise _unexpected(tensor)
    kept = [step for step in steps if step not in _WRAPPERS]
    if kept[:1] == ["module"]:
        kept = kept[1:]
    wrapped = len(kept) < len(steps)
    prefixed = kept[:2] == ["base_model", "model"]
    own = kept[2:] if prefixed else kept
    if not own:
        raise _unexpected(tensor)
    *path, leaf = own
    adapter = None
    if len(path) > 1 and path[-2] in ("lora_A", "lora_B"):
        adapter = path.pop()
    owner = path[-1] if path else ""
    part = _MATRICES.get((owner, leaf))
    if part is not None or owner == "base_layer":
        path = path[:-1]
    if part is None and leaf in ("weight", "bias") and not owner.startswith("lora_"):
        part = leaf
    if part is None or not path:
        raise _unexpected(tensor)
    return _Split(tensor, ".".join(path), part, adapter, wrapped, prefixed)


def _inner_prefix(splits: Sequence[_Split], base: BaseManifest) -> str:
    """The prefix that every module's name lacks, found by the first one; empty if it lacks none, or a name is
    known."""
    modules = [split.module for split in splits]
    if not modules or any(module in base.modules for module in modules):
        return ""
    found = [name for name in base.modules if name.endswith(f".{modules[0]}")]
    return found[0].removesuffix(modules[0]) if len(found) == 1 else ""


def _add(names: Names, split: _Split, module: str, base: BaseManifest) -> None:
    known = base.modules.get(module)
    if known is None:
        raise UnknownModule(
            f"Tensor {split.tensor} belongs to {module!r}, which this base ({base.name}) does not have: "
            "push to the base that the adapter was trained on.",
            param=module,
        )
    if split.part == "weight":
        if known.type not in COPIED:
            raise _unexpected(split.tensor)
        names.copies[split.tensor] = module
        return
    parts = names.modules.setdefault(module, {})
    if split.part in parts:
        raise UnexpectedTensor(
            f"Tensor {split.tensor} says again what {parts[split.part]} says: "
            "save the adapter again with save_pretrained.",
            param=split.tensor,
        )
    parts[split.part] = split.tensor


def _unexpected(tensor: str) -> UnexpectedTensor:
    remedy = next((_REMEDIES[step] for step in tensor.split(".") if step in _REMEDIES), None)
    return UnexpectedTensor(
        f"Tensor {tensor} is not one of a LoRA (lora_A, lora_B, biases): "
        + (remedy or "save only the adapter, with PEFT's save_pretrained and without modules_to_save")
        + ".",
        param=tensor,
    )


def _notes(splits: Sequence[_Split], inner: str) -> tuple[Note, ...]:
    """How the names differ from PEFT's."""
    groups: Mapping[str, list[str]] = {
        "wrapper's prefix left out": [split.tensor for split in splits if split.wrapped],
        "adapter's name left out": [split.tensor for split in splits if split.adapter],
        f"read as if after {PREFIX}": [split.tensor for split in splits if not split.prefixed],
        f"read as if {inner} stood before the module": [split.tensor for split in splits if inner],
    }
    return tuple(
        Note.of("names_normalised", f"{what} in {len(tensors)} tensors' names, such as {tensors[0]}.")
        for what, tensors in groups.items()
        if tensors
    )
