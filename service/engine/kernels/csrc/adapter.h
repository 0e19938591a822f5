// The adapters' part of a product: y += (x A^T) B^T + bias, each over its own rows, with its own rank.
//
//   A  [ranks][words]                 one row per rank, padded with zeros to whole vectors; the ranks of projections
//                                     with the same input (q, k, v; gate, up) follow each other
//   B  [out / 16][rank words][16]     one word holds one rank of one output in float32, two ranks in bfloat16
//
// An adapter's weights are read once per step and in order. The order of a sum's terms does not depend on the rows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "form.h"

namespace qc {

// An adapter's change to one projection: columns out_at .. out_at + out of the fused product.
struct AdapterPart {
  const void* b;      // null if there is only a bias
  const float* bias;  // [out] or null
  int32_t out_at, out;
  int32_t rank_at, rank_words;
};

// An adapter's change to one product.
struct AdapterSite {
  const void* a;
  int32_t ranks, parts;
  AdapterPart part[3];
};

// Adjacent rows of one adapter.
struct Segment {
  int64_t begin, stop;
  const AdapterSite* sites;  // [layers · 4]
};

// Words of a row of `count` elements, rounded up to whole vectors.
template <class Form>
inline int64_t row_words(int64_t count) {
  return rounded_up((count + Form::per_word - 1) / Form::per_word, kWide);
}

template <class Form>
inline int64_t row_elements(int64_t count) {
  return row_words<Form>(count) * Form::per_word;
}

// Prefetches the beginning of memory that is read soon; from there the hardware prefetcher follows the stream.
inline void ask(const void* from, int64_t bytes = 1024) {
  for (int64_t at = 0; at < bytes; at += 64) _mm_prefetch(static_cast<const char*>(from) + at, _MM_HINT_T0);
}

// -- x A^T --------------------------------------------------------------------------------------------------

template <class Form, int Rows, int Ranks>
inline void dots(const uint32_t* a, int64_t words, const typename Form::Element* x, int64_t ldx,
                 typename Form::Element* low, int64_t ldlow) {
  static_assert(Rows * Ranks <= 16, "their sums are one vector");
  Floats sums[16];
#pragma GCC unroll 16
  for (int at = 0; at < 16; ++at) sums[at] = Floats::zero();
  for (int64_t at = 0; at < words; at += kWide) {
    Words weight[Ranks];
#pragma GCC unroll 16
    for (int rank = 0; rank < Ranks; ++rank) weight[rank] = Words::load(a + rank * words + at);
#pragma GCC unroll 8
    for (int row = 0; row < Rows; ++row) {
      const Words value = Words::load(x + row * ldx + at * Form::per_word);
#pragma GCC unroll 16
      for (int rank = 0; rank < Ranks; ++rank) {
        sums[row * Ranks + rank] = Form::dot(sums[row * Ranks + rank], value, weight[rank]);
      }
    }
  }
  alignas(64) typename Form::Element rounded[16];
  Form::store(rounded, sums_of(sums));
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row) std::copy(rounded + row * Ranks, rounded + (row + 1) * Ranks, low + row * ldlow);
}

template <class Form, int Rows, int Ranks>
inline void dots_of(int64_t ranks, const uint32_t* a, int64_t words, const typename Form::Element* x, int64_t ldx,
                    typename Form::Element* low, int64_t ldlow) {
  int64_t rank = 0;
  for (; rank + Ranks <= ranks; rank += Ranks) {
    dots<Form, Rows, Ranks>(a + rank * words, words, x, ldx, low + rank, ldlow);
  }
  if constexpr (Ranks > 1) {
    if (rank < ranks) {
      dots_of<Form, Rows, Ranks / 2>(ranks - rank, a + rank * words, words, x, ldx, low + rank, ldlow);
    }
  }
}

// low [rows, ranks] = x A^T for rows begin .. stop and ranks first .. last.
template <class Form>
inline void shrink(const AdapterSite& site, const typename Form::Element* x, int64_t ldx, int64_t in, int64_t begin,
                   int64_t stop, int64_t first_rank, int64_t last_rank, typename Form::Element* low, int64_t ldlow) {
  const int64_t words = row_words<Form>(in);
  if (stop - begin == 1) {
    return dots_of<Form, 1, 16>(last_rank - first_rank, static_cast<const uint32_t*>(site.a) + first_rank * words, words,
                                x + begin * ldx, ldx, low + begin * ldlow + first_rank, ldlow);
  }
  // Eight ranks at a time: their weights stay in the first-level cache while all rows pass.
  for (int64_t rank = first_rank; rank < last_rank; rank += 8) {
    const int64_t count = std::min<int64_t>(8, last_rank - rank);
    const uint32_t* a = static_cast<const uint32_t*>(site.a) + rank * words;
    int64_t row = begin;
    for (; row + 4 <= stop; row += 4) {
      dots_of<Form, 4, 4>(count, a, words, x + row * ldx, ldx, low + row * ldlow + rank, ldlow);
    }
    for (; row + 2 <= stop; row += 2) {
      dots_of<Form, 2, 8>(count, a, words, x + row * ldx, ldx, low + row * ldlow + rank, ldlow);
    }
    if (row < stop) dots_of<Form, 1, 8>(count, a, words, x + row * ldx, ldx, low + row * ldlow + rank, ldlow);
  }
}

// -- (x A^T) B^T --------------------------------------------------------------------------------------------

template <class Form, int Rows>
inline void expand_rows(const uint32_t* panel, int64_t words, const typename Form::Element* low, int64_t ldlow,
                        float* y, int64_t ldy) {
  Floats sums[Rows];
#pragma GCC unroll 4
  for (int row = 0; row < Rows; ++row) sums[row] = Floats::load(y + row * ldy);
  for (int64_t at = 0; at < words; ++at) {
    const Words weight = Words::load(panel + at * kWide);
#pragma GCC unroll 4
    for (int row = 0; row < Rows; ++row) {
      sums[row] = Form::dot(sums[row], word_at(low + row * ldlow + at * Form::per_word), weight);
    }
  }
#pragma GCC unroll 4
  for (int row = 0; row < Rows; ++row) sums[row].store(y + row * ldy);
}

// Prefetches the beginning of the part of B in `columns`.
inline void ask_columns(const AdapterPart& part, int64_t first_column, int64_t last_column) {
  const int64_t from = std::max<int64_t>(first_column, part.out_at);
  if (part.b == nullptr || from >= std::min<int64_t>(last_column, part.out_at + part.out)) return;
  ask(static_cast<const uint32_t*>(part.b) + (from - part.out_at) * part.rank_words);
}

// y [rows, out] += low B^T + bias for rows begin .. stop; columns are of the fused product, multiples of 16.
template <class Form>
inline void expand(const AdapterPart& part, const typename Form::Element* low, int64_t ldlow, int64_t begin,
                   int64_t stop, int64_t first_column, int64_t last_column, float* y, int64_t ldy) {
  const int64_t from = std::max<int64_t>(first_column, part.out_at);
  const int64_t to = std::min<int64_t>(last_column, part.out_at + part.out);
  low += part.rank_at;
  for (int64_t column = from; column < to; column += kWide) {
    const int64_t at = column - part.out_at;
    if (part.b != nullptr) {
      const uint32_t* panel = static_cast<const uint32_t*>(part.b) + at * part.rank_words;
      int64_t row = begin;
      for (; row + 4 <= stop; row += 4) {
        expand_rows<Form, 4>(panel, part.rank_words, low + row * ldlow, ldlow, y + row * ldy + column, ldy);
      }
      for (; row < stop; ++row) {
        expand_rows<Form, 1>(panel, part.rank_words, low + row * ldlow, ldlow, y + row * ldy + column, ldy);
      }
    }
    if (part.bias != nullptr) {
      const Floats bias = Floats::load(part.bias + at);
      for (int64_t row = begin; row < stop; ++row) {
        (Floats::load(y + row * ldy + column) + bias).store(y + row * ldy + column);
      }
    }
  }
}

// -- packing ------------------------------------------------------------------------------------------------

// Writes `a_t` [in, rank] as rows of A.
template <class Form>
inline void pack_a(const typename Form::Element* a_t, int64_t in, int64_t rank, typename Form::Element* out) {
  const int64_t row = row_elements<Form>(in);
  std::memset(out, 0, static_cast<size_t>(rounded_up(rank, Form::per_word) * row) * sizeof *out);
  for (int64_t at = 0; at < in; ++at) {
    for (int64_t r = 0; r < rank; ++r) out[r * row + at] = a_t[at * rank + r];
  }
}

// Writes `b_t` [rank, out] as panels of B.
template <class Form>
inline void pack_b(const typename Form::Element* b_t, int64_t rank, int64_t out_size, typename Form::Element* out) {
  constexpr int64_t per = Form::per_word;
  const int64_t words = (rank + per - 1) / per;
  std::memset(out, 0, static_cast<size_t>(words * per * out_size) * sizeof *out);
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t column = 0; column < out_size; ++column) {
      out[((column / kWide * words + r / per) * kWide + column % kWide) * per + r % per] = b_t[r * out_size + column];
    }
  }
}

}  // namespace qc
