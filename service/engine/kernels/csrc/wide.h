// Vectors of sixteen lanes at every level, used by norm, rope, attention, activation and adapters.
//
// Products and sums are explicit (fma or not) and the file is compiled without contraction, so that a source line gives
// the same bits wherever it is inlined: a row's result must not depend on other rows.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace qc {

constexpr int kWide = 16;

#if defined(__AVX512F__)

// Sixteen floats.
struct Floats {
  __m512 v;
  static Floats zero() { return {_mm512_setzero_ps()}; }
  static Floats all(float x) { return {_mm512_set1_ps(x)}; }
  static Floats load(const float* from) { return {_mm512_loadu_ps(from)}; }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
};
// Sixteen 32-bit words: each a float, or two adjacent bfloat16.
struct Words {
  __m512i v;
  static Words load(const void* from) { return {_mm512_loadu_si512(from)}; }
  static Words all(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
};
inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats sum) { return {_mm512_fmadd_ps(a.v, b.v, sum.v)}; }
// The greater value; `b` if either is NaN.
inline Floats greater(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats lesser(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Words operator&(Words a, Words b) { return {_mm512_and_si512(a.v, b.v)}; }
// The first `count` lanes of `a`, `other` in the rest.
inline Floats first(int count, Floats a, Floats other) {
  return {_mm512_mask_mov_ps(other.v, static_cast<__mmask16>((1u << count) - 1), a.v)};
}
inline Floats as_floats(Words a) { return {_mm512_castsi512_ps(a.v)}; }
inline Floats low_halves(Words a) { return {_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))}; }
inline Floats high_halves(Words a) { return as_floats(a & Words::all(0xffff0000u)); }
inline Floats nearest(Floats a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a · 2^n for whole n within a float's exponents.
inline Floats times_power_of_two(Floats a, Floats n) {
  const __m512i bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
  return {_mm512_mul_ps(a.v, _mm512_castsi512_ps(bits))};
}
inline __m256 low_part(Floats a) { return _mm512_castps512_ps256(a.v); }
inline __m256 high_part(Floats a) { return _mm512_extractf32x8_ps(a.v, 1); }
// Sixteen bfloat16, rounded to nearest even.
inline void store_bf16(uint16_t* to, Floats a) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(a.v));
#else
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
#endif
}
inline Floats load_bf16(const uint16_t* from) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}

// Writes `from` [16] to the low or the high halves of 16 words at `to`; the other halves are unchanged.
inline void put_halves(uint16_t* to, const uint16_t* from, bool high) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  const __m512i ours = high ? _mm512_slli_epi32(wide, 16) : wide;
  _mm512_mask_storeu_epi16(to, high ? 0xaaaaaaaau : 0x55555555u, ours);
}

#else

struct Floats {
  __m256 a, b;
  static Floats zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  void store(float* to) const {
    _mm256_storeu_ps(to, a);
    _mm256_storeu_ps(to + 8, b);
  }
};
struct Words {
  __m256i a, b;
  static Words load(const void* from) {
    const __m256i* at = static_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
  }
  static Words all(uint32_t x) {
    const __m256i v = _mm256_set1_epi32(static_cast<int>(x));
    return {v, v};
  }
};
inline Floats operator+(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats operator-(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats operator*(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats operator/(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats fma(Floats x, Floats y, Floats s) {
  return {_mm256_fmadd_ps(x.a, y.a, s.a), _mm256_fmadd_ps(x.b, y.b, s.b)};
}
inline Floats greater(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats lesser(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Words operator&(Words x, Words y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline Floats first(int count, Floats x, Floats other) {
  const __m256i steps = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), steps);
  const __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), steps);
  return {_mm256_blendv_ps(other.a, x.a, _mm256_castsi256_ps(low)),
          _mm256_blendv_ps(other.b, x.b, _mm256_castsi256_ps(high))};
}
inline Floats as_floats(Words x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline Floats low_halves(Words x) { return as_floats({_mm256_slli_epi32(x.a, 16), _mm256_slli_epi32(x.b, 16)}); }
inline Floats high_halves(Words x) { return as_floats(x & Words::all(0xffff0000u)); }
inline Floats nearest(Floats x) {
  constexpr int kHow = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, kHow), _mm256_round_ps(x.b, kHow)};
}
inline __m256 power_of_two(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Floats times_power_of_two(Floats x, Floats n) {
  return {_mm256_mul_ps(x.a, power_of_two(n.a)), _mm256_mul_ps(x.b, power_of_two(n.b))};
}
inline __m256 low_part(Floats x) { return x.a; }
inline __m256 high_part(Floats x) { return x.b; }
inline __m256i rounded_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
inline void store_bf16(uint16_t* to, Floats x) {
  const __m256i mixed = _mm256_packus_epi32(rounded_bf16(x.a), rounded_bf16(x.b));  // quarters 0 2 1 3
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(mixed, 0b11011000));
}
inline __m256 widened_bf16(const uint16_t* from) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline Floats load_bf16(const uint16_t* from) { return {widened_bf16(from), widened_bf16(from + 8)}; }
inline void put_halves(uint16_t* to, const uint16_t* from, bool high) {
  for (int at = 0; at < kWide; ++at) to[2 * at + (high ? 1 : 0)] = from[at];
}

#endif

// Lanes l and l + 8, then + 4, + 2, + 1: one order for every sum.
inline float sum_of(Floats x) {
  const __m256 eight = _mm256_add_ps(low_part(x), high_part(x));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// sum_of for sixteen vectors, in sixteen lanes: the same additions in the same order.
#if defined(__AVX512F__)
inline Floats sums_of(const Floats (&x)[16]) {
  __m512 eight[8];  // of x[i] and x[i + 8]: lanes l + (l + 8) of each
  for (int i = 0; i < 8; ++i) {
    eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x[i].v, x[i + 8].v, 0x44),
                             _mm512_shuffle_f32x4(x[i].v, x[i + 8].v, 0xee));
  }
  __m512 four[4];  // quarters: x[i], x[i + 4], x[i + 8], x[i + 12]
  for (int i = 0; i < 4; ++i) {
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[i], eight[i + 4], 0x88),
                            _mm512_shuffle_f32x4(eight[i], eight[i + 4], 0xdd));
  }
  __m512 two[2];  // in each quarter two of x[i], then two of x[i + 2]
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(four[i]), b = _mm512_castps_pd(four[i + 2]);
    two[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const __m512 one = _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
  // Quarter by quarter the sums are those of 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
  const __m512i place = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return {_mm512_permutexvar_ps(place, one)};
}
#else
inline Floats sums_of(const Floats (&x)[16]) {
  alignas(32) float sums[16];
  for (int i = 0; i < 16; ++i) sums[i] = sum_of(x[i]);
  return Floats::load(sums);
}
#endif

inline float greatest_of(Floats x) {
  const __m256 eight = _mm256_max_ps(low_part(x), high_part(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// e^x to about one unit in the last place; below -87 about the smallest normal float; NaN stays NaN.
inline Floats exp(Floats x) {
  x = lesser(Floats::all(88.37f), greater(Floats::all(-87.33f), x));
  const Floats n = nearest(x * Floats::all(1.44269504088896341f));
  Floats r = fma(n, Floats::all(-0.693359375f), x);
  r = fma(n, Floats::all(2.12194440e-4f), r);
  // The polynomial of Cephes' expf (Moshier 1992).
  Floats p = Floats::all(1.9875691500e-4f);
  p = fma(p, r, Floats::all(1.3981999507e-3f));
  p = fma(p, r, Floats::all(8.3334519073e-3f));
  p = fma(p, r, Floats::all(4.1665795894e-2f));
  p = fma(p, r, Floats::all(1.6666665459e-1f));
  p = fma(p, r, Floats::all(5.0000001201e-1f));
  p = fma(p, r * r, r + Floats::all(1.0f));
  return times_power_of_two(p, n);
}

}  // namespace qc
