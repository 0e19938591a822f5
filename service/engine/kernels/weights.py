"""The base's weights and KV blocks in the native step's form; owns their memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from service.engine.kernels.llama import SITES, LlamaShape, projection, rope_tables
from service.engine.kernels.native import TYPES, Layer, Library, Model, Weight, aligned


class NativeWeights:
    """Owns all memory that ``model`` points at."""

    def __init__(self, library: Library, shape: LlamaShape, block_tokens: int) -> None:
        self.library = library
        self.shape = shape
        self._kept: list[object] = []
        self._layers = (Layer * shape.layers)()
        self.model = Model(
            type=TYPES[shape.dtype],
            layers=shape.layers,
            hidden=shape.hidden,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            dim=shape.dim,
            inner=shape.inner,
            vocabulary=shape.vocabulary,
            block_tokens=block_tokens,
            eps=shape.eps,
            scale=shape.dim**-0.5,
            layer=self._layers,
        )

    def take(self, base: PreTrainedModel, positions: int) -> None:
        """Pack the weights of ``base``; its parameters are empty afterwards."""
        cosine, sine = rope_tables(base, positions)
        self.model.cosine, self.model.sine = self._keep(cosine), self._keep(sine)
        packed = aligned(self._packed_bytes())
        self._kept.append(packed)
        at = packed.ctypes.data
        head = base.get_output_embeddings()
        at = self._pack(self.model.head, [head], at)
        embedding = base.get_input_embeddings().weight
        self.model.embedding = self._keep(embedding.detach().contiguous())
        _let_go(head)
        _let_go(base.get_input_embeddings())
        self.model.final_norm = self._norm(base.get_submodule("model.norm"))
        for number, layer in enumerate(self._layers):
            module = base.get_submodule(projection(number, "")[:-1])
            layer.attention_norm = self._norm(module.get_submodule("input_layernorm"))
            layer.mlp_norm = self._norm(module.get_submodule("post_attention_layernorm"))
            for target, names in zip((layer.qkv, layer.o, layer.gate_up, layer.down), SITES, strict=True):
                modules = [module.get_submodule(name) for name in names]
                at = self._pack(target, modules, at)
                for linear in modules:
                    _let_go(linear)

    def allocate_blocks(self, total_bytes: int) -> int:
        """Allocate as many KV blocks as fit into ``total_bytes``; returns their number."""
        one = self.library.block_bytes(self.model)
        count = total_bytes // one
        memory: NDArray[np.uint8] = aligned(count * one)
        self._kept.append(memory)
        self.model.blocks, self.model.block_count = memory.ctypes.data, count
        return int(count)

    def _packed_bytes(self) -> int:
        shape, size = self.shape, self.library.packed_bytes
        layer = sum(size(sum(outs), k, shape.dtype) for k, outs in map(shape.site, range(len(SITES))))
        return size(shape.vocabulary, shape.hidden, shape.dtype) + shape.layers * layer

    def _pack(self, target: Weight, modules: Sequence[nn.Module], at: int) -> int:
        """Write the modules' weights and biases one after the other from address ``at``; returns the next address."""
        first = 0
        for module in modules:
            weight = _weight(module)
            self.library.pack(weight, at, first)
            first += weight.shape[0]
        target.data, target.n, target.k = at, first, _weight(modules[0]).shape[1]
        biases = [getattr(module, "bias", None) for module in modules]
        if any(bias is not None for bias in biases):
            parts = [
                torch.zeros(_weight(module).shape[0]) if bias is None else bias.detach().float()
                for module, bias in zip(modules, biases, strict=True)
            ]
            target.bias = self._keep(torch.cat(parts))
        return at + self.library.packed_bytes(target.n, target.k, self.shape.dtype)

    def _norm(self, module: nn.Module) -> int:
        return self._keep(_weight(module).detach().float().clone())

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _let_go(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data = torch.empty(0, dtype=parameter.dtype)
