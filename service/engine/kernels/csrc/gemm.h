// y = x W^T + bias over packed weights: the loops over rows and panels, and what is done with each sum.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "gemm_lanes.h"
#include "gemm_pack.h"
#include "gemm_tile.h"

namespace qc {

inline const char* gemm_level() { return QC_GEMM_LEVEL; }

// Half-open range of things.
struct Span {
  int64_t begin, end;
};

// The panels that are rank's of `ranks`: neighbours, and no rank has over one more than another.
inline Span share(int64_t count, int rank, int ranks) { return {count * rank / ranks, count * (rank + 1) / ranks}; }

// What happens to sums: `take(row, column, value, count)` gets one vector whose first `count` lanes are of y.

// y = value
struct Write {
  float* y;
  int64_t ldy;
  void take(int64_t row, int64_t column, Vec value, int64_t count) const {
    float* to = y + row * ldy + column;
    if (count >= kLanes) return store(to, value);
    alignas(64) float lanes[kLanes];
    store(lanes, value);
    std::copy(lanes, lanes + count, to);
  }
};

// y += value
struct Add {
  float* y;
  int64_t ldy;
  void take(int64_t row, int64_t column, Vec value, int64_t count) const {
    float* to = y + row * ldy + column;
    if (count >= kLanes) return store(to, add(load(to), value));
    alignas(64) float lanes[kLanes];
    store(lanes, value);
    for (int64_t lane = 0; lane < count; ++lane) to[lane] += lanes[lane];
  }
};

template <int Rows, class Element, class Epilogue>
inline void tile(const Packed& w, const Element* panel, int64_t column, const Element* x, int64_t ldx, int64_t row,
                 const Epilogue& epilogue) {
  const Sums<Rows> sums = multiply<Rows>(panel, x + row * ldx, ldx, w.k);
  times<kTileVecs>([&](auto v) QC_ALWAYS {
    const int64_t first = column + v * kLanes, count = w.n - first;
    if (count <= 0) return;
    const Vec bias = w.bias != nullptr ? load_first(w.bias + first, count) : zero();
    times<Rows>([&](auto at) QC_ALWAYS { epilogue.take(row + at, first, add(sums.at[at][v], bias), count); });
  });
}

// A tile of `count` <= Rows rows.
template <int Rows, class Element, class Epilogue>
inline void tile_of(int count, const Packed& w, const Element* panel, int64_t column, const Element* x, int64_t ldx,
                    int64_t row, const Epilogue& epilogue) {
  if (count == Rows) return tile<Rows>(w, panel, column, x, ldx, row, epilogue);
  if constexpr (Rows > 1) tile_of<Rows - 1>(count, w, panel, column, x, ldx, row, epilogue);
}

// Rows that stay in the second-level cache while all panels pass.
template <class Element>
inline int64_t block_rows(int64_t k) {
  constexpr int64_t kBytes = 384 * 1024;
  const int64_t fit = kBytes / (k * static_cast<int64_t>(sizeof(Element)));
  return std::max<int64_t>(kTileRows, fit / kTileRows * kTileRows);
}

template <class Form, class Epilogue>
inline void linear_as(const Packed& w, const typename Form::Element* x, int64_t ldx, int64_t rows, int rank, int ranks,
                      const Epilogue& epilogue) {
  using Element = typename Form::Element;
  const Span panels = share(panels_of(w.n), rank, ranks);
  const int64_t elements = panel_elements<Form>(w.k), block = block_rows<Element>(w.k);
  const Element* data = static_cast<const Element*>(w.data);
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t count = std::min(block, rows - begin), tiles = (count + kTileRows - 1) / kTileRows;
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      for (int64_t at = 0; at < tiles; ++at) {
        const int64_t row = begin + count * at / tiles, stop = begin + count * (at + 1) / tiles;
        tile_of<kTileRows>(static_cast<int>(stop - row), w, data + panel * elements, panel * kPanel, x, ldx, row,
                           epilogue);
      }
    }
  }
}

// `epilogue` over the columns of y [rows, n] that are rank's of `ranks`. `x` [rows, k] is of the weight's own type
// (bfloat16 as its bits), its rows `ldx` elements apart. No barrier: ranks write different columns.
template <class Epilogue>
inline void linear(const Packed& w, const void* x, int64_t ldx, int64_t rows, int rank, int ranks,
                   const Epilogue& epilogue) {
  if (w.type == Type::bf16) {
    linear_as<Bf16>(w, static_cast<const uint16_t*>(x), ldx, rows, rank, ranks, epilogue);
  } else {
    linear_as<F32>(w, static_cast<const float*>(x), ldx, rows, rank, ranks, epilogue);
  }
}

// y [rows, ldy] becomes x W^T + bias, or that is added to it.
inline void linear(const Packed& w, const void* x, int64_t ldx, int64_t rows, float* y, int64_t ldy, int rank,
                   int ranks, bool accumulate = false) {
  if (accumulate) {
    linear(w, x, ldx, rows, rank, ranks, Add{y, ldy});
  } else {
    linear(w, x, ldx, rows, rank, ranks, Write{y, ldy});
  }
}

// Each row's greatest value so far and its column, lane by lane; a lane's column is -1 while it has none.
struct KeepGreatest {
  float* best;     // [rows, kLanes]
  int32_t* where;  // [rows, kLanes]
  void take(int64_t row, int64_t column, Vec value, int64_t count) const {
    if (count < kLanes) {
      alignas(64) float lanes[kLanes];
      store(lanes, value);
      std::fill(lanes + count, lanes + kLanes, -std::numeric_limits<float>::infinity());
      value = load(lanes);
    }
    keep_greater(best + row * kLanes, where + row * kLanes, value, static_cast<int32_t>(column));
  }
};

// The greatest of the rank's columns of x W^T + bias and the lowest column that has it, nothing else stored.
// Where no column is greater than minus infinity (NaN never is) the column is -1.
// Ranks in order are columns in order: of equal values from several ranks the first rank's is the one to take.
inline void linear_argmax(const Packed& w, const void* x, int64_t ldx, int64_t rows, float* best_value,
                          int32_t* best_column, int rank, int ranks) {
  constexpr int64_t kBlock = 64;
  alignas(64) float best[kBlock * kLanes];
  alignas(64) int32_t where[kBlock * kLanes];
  const size_t bytes = w.type == Type::bf16 ? 2 : 4;
  for (int64_t begin = 0; begin < rows; begin += kBlock) {
    const int64_t count = std::min(kBlock, rows - begin);
    std::fill(best, best + count * kLanes, -std::numeric_limits<float>::infinity());
    std::fill(where, where + count * kLanes, -1);
    linear(w, static_cast<const char*>(x) + static_cast<size_t>(begin * ldx) * bytes, ldx, count, rank, ranks,
           KeepGreatest{best, where});
    for (int64_t row = 0; row < count; ++row) {
      float value = -std::numeric_limits<float>::infinity();
      int32_t column = -1;
      for (int lane = 0; lane < kLanes; ++lane) {
        const float lane_value = best[row * kLanes + lane];
        const int32_t lane_column = where[row * kLanes + lane];
        if (lane_column < 0) continue;
        if (lane_value > value || (lane_value == value && lane_column < column)) {
          value = lane_value;
          column = lane_column;
        }
      }
      best_value[begin + row] = value;
      best_column[begin + row] = column;
    }
  }
}

}  // namespace qc
