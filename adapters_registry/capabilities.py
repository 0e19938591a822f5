"""Names of what an adapter needs of its engine; services announce what they can run with their base.

The needs are the adapter's kind, ``KIND.ROLE`` for each role of its tensors that not every engine with this kind can
apply, and the entries in its manifest's ``needs``. A name never changes its meaning: a new ability gets a new name,
so that an engine without it refuses the adapter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from adapters_registry.manifest import Manifest

LORA = "lora"
"""A low-rank product is added to the output of a projection of the decoder layers."""
LORA_B_BIAS = "lora.b_bias"
"""B has a bias (``lora_bias=True``)."""
LORA_BIAS = "lora.bias"
"""The base's bias of a projection or a norm is replaced (``bias='all'`` or ``'lora_only'``)."""
UNANNOUNCED = frozenset({LORA, LORA_B_BIAS, LORA_BIAS})
"""What services can run that announce no capabilities: those of releases before capabilities."""
_IMPLIED = {LORA: frozenset({"a", "b"})}
"""By kind: the roles that every engine with this kind applies."""


@dataclass(frozen=True, slots=True)
class Words:
    """A need, described for people."""

    what: str
    remedy: str
    """How to train without it."""


WORDS = {
    LORA: Words("LoRA on projections", "push an adapter of another kind"),
    LORA_B_BIAS: Words("biases of B", "train with lora_bias=False"),
    LORA_BIAS: Words("replaced biases", "train with bias='none'"),
}


def needs(manifest: Manifest) -> frozenset[str]:
    """All capabilities that an engine must have to run the adapter."""
    kind = manifest.kind
    implied = _IMPLIED.get(kind)
    roles: set[str] = set()
    if implied is not None:
        roles = {f"{kind}.{role}" for module in manifest.modules for role in module.tensors if role not in implied}
    return frozenset({kind, *manifest.needs, *roles})


def in_words(missing: Collection[str]) -> str:
    """``missing`` needs in words, such as ``replaced biases (lora.bias)``."""
    return ", ".join(f"{WORDS[need].what} ({need})" if need in WORDS else need for need in sorted(missing))


def remedies(missing: Collection[str]) -> str:
    """How training can avoid the ``missing`` needs; "" for those that only a newer release knows."""
    return ", ".join(WORDS[need].remedy for need in sorted(missing) if need in WORDS)
