// Weights as panels of kPanel columns of y; each panel is contiguous and read in order.
//
//   float32   panel = [k][kPanel]              one step of the product takes one k
//   bfloat16  panel = [k / 2][kPanel][2]       one step takes two adjacent k, as vdpbf16ps requires;
//                                              an odd k is padded with a zero
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gemm_lanes.h"

namespace qc {

enum class Type : int32_t { f32 = 0, bf16 = 1 };

// A weight [n, k] of y = x W^T + bias. `data` is 64-byte aligned panels, see `pack`.
struct Packed {
  const void* data;
  int64_t n, k;
  Type type;
  const float* bias;  // [n] or null
};

struct F32 {
  using Element = float;
  static constexpr int64_t depth = 1;  // adjacent k of one step
};

struct Bf16 {
  using Element = uint16_t;
  static constexpr int64_t depth = 2;
};

inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }

template <class Form>
inline int64_t panel_elements(int64_t k) {
  return (k + Form::depth - 1) / Form::depth * Form::depth * kPanel;
}

// Size of the packed form in bytes, a multiple of 64.
inline size_t packed_bytes(int64_t n, int64_t k, Type type) {
  const int64_t elements = type == Type::bf16 ? panel_elements<Bf16>(k) : panel_elements<F32>(k);
  const size_t bytes = static_cast<size_t>(panels_of(n) * elements) * (type == Type::bf16 ? 2 : 4);
  return (bytes + 63) / 64 * 64;
}

template <class Form>
inline void pack_as(const typename Form::Element* w, int64_t n, int64_t k, typename Form::Element* out, int64_t first) {
  for (int64_t row = 0; row < n; ++row) {
    const int64_t column = first + row;
    typename Form::Element* to = out + column / kPanel * panel_elements<Form>(k) + column % kPanel * Form::depth;
    for (int64_t at = 0; at < k; at += Form::depth, to += kPanel * Form::depth) {
      for (int64_t in = 0; in < Form::depth; ++in) to[in] = at + in < k ? w[row * k + at + in] : 0;
    }
  }
}

// Writes `w` [n, k] as rows first .. first + n of the packed weight in `out`, which has the same type.
// To fuse several matrices of one k, pack each after the one before; `out` must have room for all of them.
inline void pack(const void* w, int64_t n, int64_t k, Type type, void* out, int64_t first = 0) {
  if (type == Type::bf16) {
    pack_as<Bf16>(static_cast<const uint16_t*>(w), n, k, static_cast<uint16_t*>(out), first);
  } else {
    pack_as<F32>(static_cast<const float*>(w), n, k, static_cast<float*>(out), first);
  }
}

}  // namespace qc
