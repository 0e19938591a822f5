// Rotary positions (Su et al. 2021); the two halves of a head are the coordinates that are rotated.
#pragma once
#include <cstdint>

#include "wide.h"

namespace qc {

// Rotates `head` [2 · half] in place; `cosine` and `sine` [half] are those of the row's position.
inline void rotate(float* head, const float* cosine, const float* sine, int64_t half) {
  int64_t at = 0;
  for (; at + kWide <= half; at += kWide) {
    const Floats low = Floats::load(head + at), high = Floats::load(head + at + half);
    const Floats c = Floats::load(cosine + at), s = Floats::load(sine + at);
    (low * c - high * s).store(head + at);
    (high * c + low * s).store(head + at + half);
  }
  for (; at < half; ++at) {
    const float low = head[at], high = head[at + half];
    head[at] = low * cosine[at] - high * sine[at];
    head[at + half] = high * cosine[at] + low * sine[at];
  }
}

}  // namespace qc
