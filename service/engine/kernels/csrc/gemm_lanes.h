// Vector operations of the compiled level: AVX-512 with or without BF16, or AVX2.
#pragma once
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace qc {

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

using Vec = __m512;
using Bits = __m512i;
constexpr int kLanes = 16;
constexpr int kTileVecs = 3;  // columns of a panel, in registers
constexpr int kTileRows = 8;  // kTileRows x kTileVecs accumulators, kTileVecs weights, one activation: 28 of 32

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec all(float value) { return _mm512_set1_ps(value); }
inline Vec load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vec value) { _mm512_storeu_ps(to, value); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec sum) { return _mm512_fmadd_ps(a, b, sum); }
inline Bits load_bits(const void* from) { return _mm512_loadu_si512(from); }
inline Bits all_bits(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
inline Vec low_bf16(Bits pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
inline Vec high_bf16(Bits pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
// Sets lanes of `best` and `at` to those of `value` and the indexes from `first` if the value is greater, or equal with
// a lower index. Minus infinity and NaN are never kept.
inline void keep_greater(float* best, int32_t* at, Vec value, int32_t first) {
  const Vec old = load(best);
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i index = _mm512_add_epi32(_mm512_set1_epi32(first), steps);
  const __mmask16 lower = _mm512_cmplt_epi32_mask(index, _mm512_loadu_si512(at));
  const __mmask16 taken = _mm512_cmp_ps_mask(value, old, _CMP_GT_OQ) |
                          (_mm512_cmp_ps_mask(value, old, _CMP_EQ_OQ) & lower);
  _mm512_mask_storeu_ps(best, taken, value);
  _mm512_mask_storeu_epi32(at, taken, index);
}

#if defined(__AVX512BF16__)
#define QC_GEMM_LEVEL "avx512bf16"
#else
#define QC_GEMM_LEVEL "avx512"
#endif

#elif defined(__AVX2__) && defined(__FMA__)

#define QC_GEMM_LEVEL "avx2"

using Vec = __m256;
using Bits = __m256i;
constexpr int kLanes = 8;
constexpr int kTileVecs = 2;
constexpr int kTileRows = 4;  // with more rows GCC 12 spills the sums of bfloat16 to memory

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec all(float value) { return _mm256_set1_ps(value); }
inline Vec load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, Vec value) { _mm256_storeu_ps(to, value); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec sum) { return _mm256_fmadd_ps(a, b, sum); }
inline Bits load_bits(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline Bits all_bits(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
inline Vec low_bf16(Bits pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
inline Vec high_bf16(Bits pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
inline void keep_greater(float* best, int32_t* at, Vec value, int32_t first) {
  const Vec old = load(best);
  const __m256i index = _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const __m256i had = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  const Vec lower = _mm256_castsi256_ps(_mm256_cmpgt_epi32(had, index));
  const Vec taken = _mm256_or_ps(_mm256_cmp_ps(value, old, _CMP_GT_OQ),
                                 _mm256_and_ps(_mm256_cmp_ps(value, old, _CMP_EQ_OQ), lower));
  store(best, _mm256_blendv_ps(old, value, taken));
  _mm256_maskstore_epi32(at, _mm256_castps_si256(taken), index);
}

#else
#error "the kernels need AVX2 with FMA, or AVX-512 with BW, DQ and VL: compile with -march for such a processor"
#endif

// The first `count` elements of a vector, then zeros.
inline Vec load_first(const float* from, int64_t count) {
  if (count >= kLanes) return load(from);
  alignas(64) float lanes[kLanes] = {};
  std::copy(from, from + count, lanes);
  return load(lanes);
}

constexpr int kPanel = kLanes * kTileVecs;  // columns of y that one panel of packed weights gives

}  // namespace qc
