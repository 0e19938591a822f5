// The innermost product: a few rows of x times one panel, all sums in registers.
//
// Every sum starts at zero and takes its terms in the order of k, one accumulator an output, however many rows
// the tile has: this alone makes a row's result independent of the rows beside it.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#include "gemm_lanes.h"
#include "gemm_pack.h"

#define QC_ALWAYS __attribute__((always_inline))
#define QC_INLINE inline QC_ALWAYS

namespace qc {

template <class Do, int... At>
QC_INLINE void unrolled(Do&& act, std::integer_sequence<int, At...>) {
  (act(std::integral_constant<int, At>{}), ...);
}

// act(0) .. act(Count - 1) with constants: the compiler keeps arrays so indexed in registers, which it does not
// for a loop that it unrolls later.
template <int Count, class Do>
QC_INLINE void times(Do&& act) {
  unrolled(act, std::make_integer_sequence<int, Count>{});
}

template <int Rows>
struct Sums {
  Vec at[Rows][kTileVecs];
};

// Keeps the compiler from loading a weight anew for each row, as an operand of the row's instruction.
QC_INLINE Vec in_register(Vec value) {
  __asm__("" : "+v"(value));
  return value;
}

QC_INLINE uint32_t pair_at(const uint16_t* x) {
  uint32_t pair;
  std::memcpy(&pair, x, sizeof pair);
  return pair;
}

// One step in bfloat16: the pair of neighbours in k that `pair(row)` gives, for every row.
template <int Rows, class Pair>
QC_INLINE void step_bf16(const uint16_t* panel, Sums<Rows>& sums, Pair&& pair) {
  Bits weight[kTileVecs];
  times<kTileVecs>([&](auto v) QC_ALWAYS { weight[v] = load_bits(panel + v * kLanes * 2); });
  times<Rows>([&](auto row) QC_ALWAYS {
    const Bits x = all_bits(pair(row));
#if defined(__AVX512BF16__)
    times<kTileVecs>([&](auto v) QC_ALWAYS {
      sums.at[row][v] = _mm512_dpbf16_ps(sums.at[row][v], (__m512bh)weight[v], (__m512bh)x);
    });
#else
    const Vec low = low_bf16(x), high = high_bf16(x);
    times<kTileVecs>([&](auto v) QC_ALWAYS {
      sums.at[row][v] = fma(high_bf16(weight[v]), high, fma(low_bf16(weight[v]), low, sums.at[row][v]));
    });
#endif
  });
}

template <int Rows>
QC_INLINE Sums<Rows> multiply(const uint16_t* panel, const uint16_t* x, int64_t ldx, int64_t k) {
  Sums<Rows> sums;
  times<Rows>([&](auto row) QC_ALWAYS { times<kTileVecs>([&](auto v) QC_ALWAYS { sums.at[row][v] = zero(); }); });
  for (int64_t at = 0; at + 1 < k; at += 2, panel += kPanel * 2) {
    step_bf16<Rows>(panel, sums, [&](int row) QC_ALWAYS { return pair_at(x + row * ldx + at); });
  }
  if (k % 2) {
    step_bf16<Rows>(panel, sums, [&](int row) QC_ALWAYS { return static_cast<uint32_t>(x[row * ldx + k - 1]); });
  }
  return sums;
}

template <int Rows>
QC_INLINE Sums<Rows> multiply(const float* panel, const float* x, int64_t ldx, int64_t k) {
  Sums<Rows> sums;
  times<Rows>([&](auto row) QC_ALWAYS { times<kTileVecs>([&](auto v) QC_ALWAYS { sums.at[row][v] = zero(); }); });
  for (int64_t at = 0; at < k; ++at, panel += kPanel) {
    Vec weight[kTileVecs];
    times<kTileVecs>([&](auto v) QC_ALWAYS { weight[v] = in_register(load(panel + v * kLanes)); });
    times<Rows>([&](auto row) QC_ALWAYS {
      const Vec value = all(x[row * ldx + at]);
      times<kTileVecs>([&](auto v) QC_ALWAYS { sums.at[row][v] = fma(weight[v], value, sums.at[row][v]); });
    });
  }
  return sums;
}

}  // namespace qc
