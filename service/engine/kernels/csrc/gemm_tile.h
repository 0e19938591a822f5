// The innermost product: a few rows of x times one panel, all sums in registers.
//
// Every sum starts at zero and takes its terms in the order of k, one accumulator an output, however many rows
// the tile has: this alone makes a row's result independent of the rows beside it.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm_lanes.h"
#include "gemm_pack.h"

namespace qc {

template <int Rows>
using Sums = Vec[Rows][kTileVecs];

inline uint32_t pair_at(const uint16_t* x) {
  uint32_t pair;
  std::memcpy(&pair, x, sizeof pair);
  return pair;
}

// One step in bfloat16: the pair of neighbours in k that `pair(row)` gives, for every row.
template <int Rows, class Pair>
inline void step_bf16(const uint16_t* panel, Sums<Rows>& sums, Pair pair) {
  Bits weight[kTileVecs];
#pragma GCC unroll 4
  for (int v = 0; v < kTileVecs; ++v) weight[v] = load_bits(panel + v * kLanes * 2);
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
    const Bits x = all_bits(pair(row));
#if defined(__AVX512BF16__)
#pragma GCC unroll 4
    for (int v = 0; v < kTileVecs; ++v) {
      sums[row][v] = _mm512_dpbf16_ps(sums[row][v], (__m512bh)weight[v], (__m512bh)x);
    }
#else
    const Vec low = low_bf16(x), high = high_bf16(x);
#pragma GCC unroll 4
    for (int v = 0; v < kTileVecs; ++v) {
      sums[row][v] = fma(high_bf16(weight[v]), high, fma(low_bf16(weight[v]), low, sums[row][v]));
    }
#endif
  }
}

template <int Rows>
inline void multiply(const uint16_t* panel, const uint16_t* x, int64_t ldx, int64_t k, Sums<Rows>& sums) {
  for (int64_t at = 0; at + 1 < k; at += 2, panel += kPanel * 2) {
    step_bf16<Rows>(panel, sums, [&](int row) { return pair_at(x + row * ldx + at); });
  }
  if (k % 2) {
    step_bf16<Rows>(panel, sums, [&](int row) { return static_cast<uint32_t>(x[row * ldx + k - 1]); });
  }
}

template <int Rows>
inline void multiply(const float* panel, const float* x, int64_t ldx, int64_t k, Sums<Rows>& sums) {
  for (int64_t at = 0; at < k; ++at, panel += kPanel) {
    Vec weight[kTileVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kTileVecs; ++v) weight[v] = load(panel + v * kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Vec value = all(x[row * ldx + at]);
#pragma GCC unroll 4
      for (int v = 0; v < kTileVecs; ++v) sums[row][v] = fma(weight[v], value, sums[row][v]);
    }
  }
}

}  // namespace qc
