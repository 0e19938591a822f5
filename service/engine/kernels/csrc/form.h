// The two types of weights, keys, values and inputs of products, as 32-bit words:
// a word is one float, or two adjacent bfloat16.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm_pack.h"
#include "wide.h"

namespace qc {

struct InF32 {
  using Element = float;
  static constexpr int per_word = 1;
  static constexpr Type type = Type::f32;
  static Floats dot(Floats sum, Words a, Words b) { return fma(as_floats(a), as_floats(b), sum); }
  static void store(Element* to, Floats x) { x.store(to); }
  static Floats load(const Element* from) { return Floats::load(from); }
  static Element round(float x) { return x; }
};

struct InBf16 {
  using Element = uint16_t;
  static constexpr int per_word = 2;
  static constexpr Type type = Type::bf16;
  static Floats dot(Floats sum, Words a, Words b) {
#if defined(__AVX512BF16__)
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
#else
    return fma(high_halves(a), high_halves(b), fma(low_halves(a), low_halves(b), sum));
#endif
  }
  static void store(Element* to, Floats x) { store_bf16(to, x); }
  static Floats load(const Element* from) { return load_bf16(from); }
  static Element round(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<Element>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
};

// The word at `from`, in all lanes.
inline Words word_at(const void* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return Words::all(word);
}

inline int64_t rounded_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

}  // namespace qc
