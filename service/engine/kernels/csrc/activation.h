// SiLU(gate) · up (Shazeer 2020), between the two products of the MLP.
#pragma once
#include <cstdint>

#include "form.h"

namespace qc {

// Columns begin .. stop, multiples of 16, of one row.
template <class Form>
inline void silu_times(const float* gate, const float* up, int64_t begin, int64_t stop, typename Form::Element* out) {
  const Floats one = Floats::all(1.0f);
  for (int64_t at = begin; at < stop; at += kWide) {
    const Floats x = Floats::load(gate + at);
    const Floats weight = one / (one + exp(Floats::zero() - x));
    Form::store(out + at, x * weight * Floats::load(up + at));
  }
}

}  // namespace qc
