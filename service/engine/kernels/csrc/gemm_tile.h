// The innermost product: a few rows of x times one panel, all sums in registers.
//
// Every sum starts at zero and adds its terms in the order of k, in one accumulator per output (in float32 one per
// group of terms), for any number of rows in the tile. So a row's result does not depend on the other rows.
//
// Loops over sums are recursive templates, always inlined, because GCC keeps an array in registers only if every index
// is a constant at an early stage. With loops unrolled by pragma, or lambdas capturing the sums, they stay in memory.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm_lanes.h"
#include "gemm_pack.h"

#define QC_INLINE inline __attribute__((always_inline))

namespace qc {

template <int Rows>
using Sums = Vec[Rows][kTileVecs];

// Memory that a tile prefetches at each step: the lines at `from` and `second` bytes after it, and the line at `other`,
// of something else that is read soon.
struct Ahead {
  const char* from;
  int64_t stride, second;
  const char* other;
  int64_t other_stride;
};

// A step for each type: `Word` is the part of x of one step, in all lanes.

struct StepF32 {
  using Element = float;
  using Weight = Vec;
  using Word = Vec;
  static constexpr int64_t depth = F32::depth;
  QC_INLINE static Weight weight(const Element* from) { return load(from); }
  QC_INLINE static Word word(const Element* x) { return all(*x); }
  QC_INLINE static Word last_word(const Element* x) { return all(*x); }
  QC_INLINE static Vec dot(Vec sum, Weight w, Word x) { return fma(w, x, sum); }
};

struct StepBf16 {
  using Element = uint16_t;
  using Weight = Bits;
  static constexpr int64_t depth = Bf16::depth;
  QC_INLINE static Weight weight(const Element* from) { return load_bits(from); }
  QC_INLINE static uint32_t pair(const Element* x) {
    uint32_t both;
    std::memcpy(&both, x, sizeof both);
    return both;
  }
#if defined(__AVX512BF16__)
  using Word = Bits;
  QC_INLINE static Word spread(uint32_t both) { return all_bits(both); }
  QC_INLINE static Vec dot(Vec sum, Weight w, Word x) { return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x); }
#else
  struct Word {
    Vec low, high;
  };
  QC_INLINE static Word spread(uint32_t both) { return {low_bf16(all_bits(both)), high_bf16(all_bits(both))}; }
  QC_INLINE static Vec dot(Vec sum, Weight w, Word x) {
    return fma(high_bf16(w), x.high, fma(low_bf16(w), x.low, sum));
  }
#endif
  QC_INLINE static Word word(const Element* x) { return spread(pair(x)); }
  QC_INLINE static Word last_word(const Element* x) { return spread(*x); }  // for an odd k, without a second element
};

template <int Row = 0, int V = 0, int Rows>
QC_INLINE void clear(Sums<Rows>& sums) {
  sums[Row][V] = zero();
  if constexpr (V + 1 < kTileVecs) {
    clear<Row, V + 1>(sums);
  } else if constexpr (Row + 1 < Rows) {
    clear<Row + 1>(sums);
  }
}

template <class Step, int V = 0>
QC_INLINE void load_weights(const typename Step::Element* panel, typename Step::Weight (&weights)[kTileVecs]) {
  weights[V] = Step::weight(panel + V * kLanes * Step::depth);
  // Keeps the compiler from loading a weight anew for each row, as an operand of the row's instruction.
  __asm__("" : "+v"(weights[V]));
  if constexpr (V + 1 < kTileVecs) load_weights<Step, V + 1>(panel, weights);
}

template <class Step, int V = 0>
QC_INLINE void step_row(Vec (&sums)[kTileVecs], const typename Step::Weight (&weights)[kTileVecs],
                        typename Step::Word word) {
  sums[V] = Step::dot(sums[V], weights[V], word);
  if constexpr (V + 1 < kTileVecs) step_row<Step, V + 1>(sums, weights, word);
}

// One step for all rows; `Last`: x has one element left and the step takes two.
template <class Step, bool Last, int Row = 0, int Rows>
QC_INLINE void step_rows(Sums<Rows>& sums, const typename Step::Weight (&weights)[kTileVecs],
                         const typename Step::Element* x, int64_t ldx) {
  step_row<Step>(sums[Row], weights, Last ? Step::last_word(x + Row * ldx) : Step::word(x + Row * ldx));
  if constexpr (Row + 1 < Rows) step_rows<Step, Last, Row + 1>(sums, weights, x, ldx);
}

// totals += sums; sums = 0
template <int Row = 0, int V = 0, int Rows>
QC_INLINE void fold(Sums<Rows>& sums, float* totals) {
  float* total = totals + (Row * kTileVecs + V) * kLanes;
  store(total, add(load(total), sums[Row][V]));
  sums[Row][V] = zero();
  if constexpr (V + 1 < kTileVecs) {
    fold<Row, V + 1>(sums, totals);
  } else if constexpr (Row + 1 < Rows) {
    fold<Row + 1>(sums, totals);
  }
}

template <int Row = 0, int V = 0, int Rows>
QC_INLINE void unfold(Sums<Rows>& sums, const float* totals) {
  sums[Row][V] = add(load(totals + (Row * kTileVecs + V) * kLanes), sums[Row][V]);
  if constexpr (V + 1 < kTileVecs) {
    unfold<Row, V + 1>(sums, totals);
  } else if constexpr (Row + 1 < Rows) {
    unfold<Row + 1>(sums, totals);
  }
}

// Steps after which float32 sums are added to the totals, because one long sum is less exact than torch's. In bfloat16
// the rounding of inputs has a much larger effect.
constexpr int64_t kRun = 64;

template <class Step, int Rows>
QC_INLINE void multiply(Sums<Rows>& sums, const typename Step::Element* panel, const typename Step::Element* x,
                        int64_t ldx, int64_t k, Ahead ahead) {
  typename Step::Weight weights[kTileVecs];
  clear(sums);
  const int64_t whole = k / Step::depth;
  constexpr bool kFolds = Step::depth == 1;
  alignas(64) float totals[kFolds ? Rows * kTileVecs * kLanes : 1] = {};
  for (int64_t begin = 0; begin < whole;) {
    const int64_t stop = kFolds && whole - begin > kRun ? begin + kRun : whole;
    for (int64_t step = begin; step < stop; ++step, panel += kPanel * Step::depth, x += Step::depth) {
      _mm_prefetch(ahead.from, _MM_HINT_T1);
      _mm_prefetch(ahead.from + ahead.second, _MM_HINT_T1);
      _mm_prefetch(ahead.other, _MM_HINT_T1);
      ahead.from += ahead.stride;
      ahead.other += ahead.other_stride;
      load_weights<Step>(panel, weights);
      step_rows<Step, false>(sums, weights, x, ldx);
    }
    begin = stop;
    if constexpr (kFolds) {
      if (begin < whole) fold(sums, totals);
    }
  }
  if (whole * Step::depth < k) {
    load_weights<Step>(panel, weights);
    step_rows<Step, true>(sums, weights, x, ldx);
  }
  if constexpr (kFolds) unfold(sums, totals);
}

}  // namespace qc
