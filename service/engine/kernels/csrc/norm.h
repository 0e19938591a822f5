// Root mean square norm (Zhang and Sennrich 2019) of rows in float32.
#pragma once
#include <cmath>
#include <cstdint>

#include "form.h"

namespace qc {

// out = weight · x / sqrt(mean(x²) + eps); `size` is a multiple of 16.
template <class Form>
inline void rms_norm(const float* x, const float* weight, float eps, int64_t size, typename Form::Element* out) {
  Floats squares[2] = {Floats::zero(), Floats::zero()};
  int64_t at = 0;
  for (; at + 2 * kWide <= size; at += 2 * kWide) {
    for (int part = 0; part < 2; ++part) {
      const Floats value = Floats::load(x + at + part * kWide);
      squares[part] = fma(value, value, squares[part]);
    }
  }
  if (at < size) {
    const Floats value = Floats::load(x + at);
    squares[0] = fma(value, value, squares[0]);
  }
  const float mean = sum_of(squares[0] + squares[1]) / static_cast<float>(size);
  const Floats scale = Floats::all(1.0f / std::sqrt(mean + eps));
  for (at = 0; at < size; at += kWide) {
    Form::store(out + at, Floats::load(x + at) * scale * Floats::load(weight + at));
  }
}

}  // namespace qc
