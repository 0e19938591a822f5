"""Names of what an adapter needs of the engine that runs it; services announce theirs with their base.

A need is the adapter's kind, and ``KIND.ROLE`` for each role of its tensors that not every engine which runs the kind
can apply. A name never changes its meaning: a new ability gets a new name, so that an older engine refuses it.
"""

from __future__ import annotations

from adapters_registry.manifest import Manifest

LORA = "lora"
"""A low-rank product is added to the output of a projection of the decoder layers."""
LORA_B_BIAS = "lora.b_bias"
"""B has a bias (``lora_bias=True``)."""
LORA_BIAS = "lora.bias"
"""The base's bias of a projection or a norm is replaced (``bias='all'`` or ``'lora_only'``)."""
UNANNOUNCED = frozenset({LORA, LORA_B_BIAS, LORA_BIAS})
"""What services run that announce no capabilities: those of releases before there were any."""


def needs(manifest: Manifest) -> frozenset[str]:
    """All that an engine must be capable of to run the adapter."""
    roles = {
        name
        for module in manifest.modules
        for name, tensor in ((LORA_B_BIAS, module.b_bias), (LORA_BIAS, module.bias))
        if tensor is not None
    }
    return frozenset({manifest.kind, *roles})
