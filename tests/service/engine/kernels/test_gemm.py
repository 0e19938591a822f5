"""The packed products, at every level that this processor has: right, and each row's bits its own."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from service.engine.kernels.build import default_cache, find_compiler, library
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import LEVELS, Level, supported_levels

TYPES = {torch.float32: 0, torch.bfloat16: 1}
DTYPES = tuple(TYPES)


@dataclass(frozen=True, slots=True)
class Weight:
    """A packed weight, and the buffers that it points into."""

    packed: Tensor
    n: int
    k: int
    dtype: torch.dtype
    bias: Tensor | None

    @property
    def head(self) -> tuple[object, ...]:
        """The first five arguments of the probe's products."""
        return _at(self.packed), self.n, self.k, TYPES[self.dtype], _at(self.bias)


def _at(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


class Probe:
    """The compiled probe library."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.gemm_probe_packed_bytes.restype = ctypes.c_int64
        self._library.gemm_probe_level.restype = ctypes.c_char_p

    @property
    def level(self) -> str:
        return str(self._library.gemm_probe_level().decode())

    def packed_bytes(self, n: int, k: int, dtype: torch.dtype) -> int:
        return int(self._library.gemm_probe_packed_bytes(ctypes.c_int64(n), ctypes.c_int64(k), TYPES[dtype]))

    def pack(self, parts: list[Tensor], bias: Tensor | None = None) -> Weight:
        """``parts`` [n, k] stacked."""
        n, k, dtype = sum(len(part) for part in parts), parts[0].shape[1], parts[0].dtype
        # NaN wherever nothing is packed: what a product must not read shows.
        room = torch.full((self.packed_bytes(n, k, dtype) // 4 + 16,), torch.nan)
        packed = room[-room.data_ptr() % 64 // 4 :]
        first = 0
        for part in parts:
            rows = ctypes.c_int64(len(part))
            self._library.gemm_probe_pack(_at(part), rows, ctypes.c_int64(k), TYPES[dtype], _at(packed),
                                          ctypes.c_int64(first))  # fmt: skip
            first += len(part)
        return Weight(packed, n, k, dtype, bias)

    def linear(self, w: Weight, x: Tensor, *, ranks: int = 1, onto: Tensor | None = None) -> Tensor:
        """x Wᵀ + b, or that added to ``onto`` in place; rows of both may lie apart."""
        y = torch.full((len(x), w.n), torch.nan) if onto is None else onto
        self._library.gemm_probe_linear(
            *_wide(*w.head), _at(x), *_wide(x.stride(0), len(x)), _at(y), *_wide(y.stride(0)), ranks, onto is not None
        )
        return y

    def argmax(self, w: Weight, x: Tensor, rank: int = 0, ranks: int = 1) -> tuple[Tensor, Tensor]:
        values, columns = torch.empty(len(x)), torch.empty(len(x), dtype=torch.int32)
        self._library.gemm_probe_argmax(
            *_wide(*w.head), _at(x), *_wide(x.stride(0), len(x)), _at(values), _at(columns), rank, ranks
        )
        return values, columns


def _wide(*values: object) -> list[object]:
    """Python integers as 64-bit arguments."""
    return [ctypes.c_int64(value) if isinstance(value, int) else value for value in values]


@pytest.fixture(scope="module", params=LEVELS, ids=[level.name for level in LEVELS])
def probe(request: pytest.FixtureRequest) -> Probe:
    level: Level = request.param
    if level not in supported_levels():
        pytest.skip(f"this processor has no {level.name}")
    try:
        find_compiler()
    except NativeUnavailable as error:
        pytest.skip(str(error))
    built = Probe(library(level, default_cache(), "gemm_probe.cpp"))
    assert built.level == level.name
    return built


def _random(rows: int, columns: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=draw).to(dtype)


def _close(y: Tensor, expected: Tensor, k: int) -> None:
    """Within what float32 may lose in k terms of about one whose sums wander to √k; a lost term shows."""
    assert torch.isfinite(y).all()
    assert float((y.double() - expected).abs().max()) < 1e-6 + 3e-7 * k


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 5), (48, 64), (49, 33), (95, 576), (200, 131), (576, 1536)])
def test_products_are_those_of_float64(probe: Probe, dtype: torch.dtype, n: int, k: int) -> None:
    weight, bias = _random(n, k, dtype, 1), _random(1, n, torch.float32, 2)[0]
    packed = probe.pack([weight], bias)
    for rows in (1, 2, 3, 5, 8, 9, 17, 70):
        x = _random(rows, k, dtype, 100 + rows)
        _close(probe.linear(packed, x), x.double() @ weight.double().T + bias.double(), k)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_in_any_company(probe: Probe, dtype: torch.dtype) -> None:
    packed = probe.pack([_random(205, 131, dtype, 1)], _random(1, 205, torch.float32, 2)[0])
    x = _random(700, 131, dtype)
    alone = torch.cat([probe.linear(packed, row[None]) for row in x])
    for rows in [*range(1, 71), 128, 700]:
        for first in {0, 700 - rows}:
            together = probe.linear(packed, x[first : first + rows], ranks=1 + rows % 3)
            assert torch.equal(together, alone[first : first + rows]), (rows, first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_sums_have_the_same_bits_in_any_company(probe: Probe, dtype: torch.dtype) -> None:
    packed, x = probe.pack([_random(50, 9001, dtype, 1)]), _random(40, 9001, dtype)
    alone = torch.cat([probe.linear(packed, row[None]) for row in x])
    assert torch.equal(probe.linear(packed, x), alone)
    added = probe.linear(packed, x, onto=torch.ones(40, 50))
    assert torch.equal(added, torch.cat([probe.linear(packed, row[None], onto=torch.ones(1, 50)) for row in x]))
    _close(added, 1 + x.double() @ _random(50, 9001, dtype, 1).double().T, 9001)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ranks", [1, 2, 3, 7, 64])
def test_any_number_of_ranks_gives_all_columns(probe: Probe, dtype: torch.dtype, ranks: int) -> None:
    packed, x = probe.pack([_random(205, 64, dtype, 1)]), _random(11, 64, dtype)
    assert torch.equal(probe.linear(packed, x, ranks=ranks), probe.linear(packed, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_may_lie_apart_and_nothing_beside_y_is_written(probe: Probe, dtype: torch.dtype) -> None:
    packed = probe.pack([_random(77, 45, dtype, 1)])
    wide_x, wide_y = _random(10, 61, dtype), torch.full((10, 99), 5.0)
    wide_x[:, 45:] = torch.nan
    probe.linear(packed, wide_x[:, :45], onto=wide_y[:, :77])
    expected = probe.linear(packed, wide_x[:, :45].contiguous())
    assert torch.equal(wide_y[:, :77], expected + 5)
    assert (wide_y[:, 77:] == 5).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_stacked_weights_are_one(probe: Probe, dtype: torch.dtype) -> None:
    parts = [_random(n, 50, dtype, n) for n in (60, 13, 29)]
    x = _random(6, 50, dtype)
    apart = [probe.linear(probe.pack([part]), x) for part in parts]
    assert torch.equal(probe.linear(probe.pack(parts), x), torch.cat(apart, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ranks", [1, 3])
def test_argmax_is_that_of_the_products(probe: Probe, dtype: torch.dtype, ranks: int) -> None:
    weight = _random(1001, 40, dtype, 1)
    weight[700:900] = weight[100:300]  # ties everywhere: of equal columns the lowest counts
    packed, x = probe.pack([weight], _random(1, 1001, torch.float32, 2)[0].round()), _random(130, 40, dtype)
    packed.bias[700:900] = packed.bias[100:300]
    y = probe.linear(packed, x)
    parts = [probe.argmax(packed, x, rank, ranks) for rank in range(ranks)]
    values, columns = torch.stack([v for v, _ in parts]), torch.stack([c for _, c in parts])
    first = (values == values.max(0).values).int().argmax(0)  # of equal ranks the first
    assert torch.equal(values.gather(0, first[None])[0], y.max(1).values)
    lowest = (y == y.max(1, keepdim=True).values).int().argmax(1)
    assert torch.equal(columns.gather(0, first[None])[0].long(), lowest)


def test_argmax_of_nothing_but_nan_is_no_column(probe: Probe) -> None:
    x = torch.ones(2, 4)
    x[1] = torch.nan
    assert probe.argmax(probe.pack([-torch.ones(20, 4)]), x)[1].tolist() == [0, -1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_size_covers_whole_panels(probe: Probe, dtype: torch.dtype) -> None:
    for n, k in ((1, 1), (48, 7), (49, 8), (576, 1536)):
        size = probe.packed_bytes(n, k, dtype)
        assert size % 64 == 0
        assert n * k * dtype.itemsize <= size <= (n + 127) * (k + 1) * dtype.itemsize + 63
