// y = x W^T + bias over packed weights: the loops over rows and panels, and the use of each sum.
//
//   for each block of rows          its x stays in the second-level cache; weights are read once per block
//     for each panel of the rank    48 columns (AVX2: 16), read once from memory, contiguous
//       for each tile of rows       at most 8 (AVX2: 4), tiles of nearly one size
//         for each step in k        all sums in registers
//
// Slower alternatives, measured by loadtest/bench_gemm.py: other tile sizes; no software prefetch, or prefetch into the
// first-level cache; prefetch within the same panel (the hardware does it); small pages. The packed buffer needs
// madvise(MADV_HUGEPAGE), which shared memory does not support.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "deal.h"
#include "gemm_lanes.h"
#include "gemm_pack.h"
#include "gemm_tile.h"

namespace qc {

inline const char* gemm_level() { return QC_GEMM_LEVEL; }

// Uses of sums: `take(row, column, value, count)` gets one vector, whose first `count` lanes belong to y.

// y = value
struct Write {
  float* y;
  int64_t ldy;
  QC_INLINE void take(int64_t row, int64_t column, Vec value, int64_t count) const {
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
  QC_INLINE void take(int64_t row, int64_t column, Vec value, int64_t count) const {
    float* to = y + row * ldy + column;
    if (count >= kLanes) return store(to, add(load(to), value));
    alignas(64) float lanes[kLanes];
    store(lanes, value);
    for (int64_t lane = 0; lane < count; ++lane) to[lane] += lanes[lane];
  }
};

template <int Row = 0, int Rows, class Epilogue>
QC_INLINE void give(Sums<Rows>& sums, int v, Vec bias, int64_t row, int64_t column, int64_t count,
                    const Epilogue& epilogue) {
  epilogue.take(row + Row, column, add(sums[Row][v], bias), count);
  if constexpr (Row + 1 < Rows) give<Row + 1>(sums, v, bias, row, column, count, epilogue);
}

template <int V = 0, int Rows, class Epilogue>
QC_INLINE void give_all(Sums<Rows>& sums, const Packed& w, int64_t row, int64_t column, const Epilogue& epilogue) {
  const int64_t count = w.n - column;
  if (count <= 0) return;
  give(sums, V, w.bias != nullptr ? load_first(w.bias + column, count) : zero(), row, column, count, epilogue);
  if constexpr (V + 1 < kTileVecs) give_all<V + 1>(sums, w, row, column + kLanes, epilogue);
}

// Not inlined, because the compiler would not have enough registers for the sums within other code.
template <class Step, int Rows, class Epilogue>
__attribute__((noinline)) void tile(const Packed& w, const typename Step::Element* panel, int64_t column,
                                    const typename Step::Element* x, int64_t ldx, int64_t row, Ahead ahead,
                                    const Epilogue& epilogue) {
  Sums<Rows> sums;
  multiply<Step>(sums, panel, x + row * ldx, ldx, w.k, ahead);
  give_all(sums, w, row, column, epilogue);
}

// A tile of `count` <= Rows rows.
template <class Step, int Rows, class Epilogue>
inline void tile_of(int count, const Packed& w, const typename Step::Element* panel, int64_t column,
                    const typename Step::Element* x, int64_t ldx, int64_t row, Ahead ahead, const Epilogue& epilogue) {
  if (count == Rows) return tile<Step, Rows>(w, panel, column, x, ldx, row, ahead, epilogue);
  if constexpr (Rows > 1) tile_of<Step, Rows - 1>(count, w, panel, column, x, ldx, row, ahead, epilogue);
}

// Rows whose x stays in the second-level cache during all panels. For a large k, at least as many rows that reading the
// weights again for each block takes less time than computing with them.
template <class Element>
inline int64_t block_rows(int64_t k) {
  constexpr int64_t kBytes = 384 * 1024, kLeast = 64;
  const int64_t fit = kBytes / (k * static_cast<int64_t>(sizeof(Element)));
  return std::max(kLeast, fit / kTileRows * kTileRows);
}

// With one tile per panel, the hardware prefetches the panels, which are read in order. With several tiles, all but the
// first find the panel in the cache, and together they prefetch the next one.
inline Ahead ahead_of(const char* panel, bool last, int64_t bytes, int64_t tile, int64_t tiles, int64_t step_bytes) {
  if (tiles == 1 || last) return {panel, 0, 0, panel, 0};
  return {panel + bytes + bytes * tile / tiles, step_bytes / tiles, tiles == 2 ? 64 : 0, panel, 0};
}

// No work in addition to a product. `piece(steps)` returns the memory that a tile of `steps` prefetches, and
// `after_unit()` is called between units.
struct NoSideWork {
  struct Piece {
    const char* from;
    int64_t stride;
  };
  Piece piece(int64_t) { return {nullptr, 0}; }
  void after_unit() {}
};

// Units of a product: one panel for one block of rows. The result of a unit does not depend on the rank.
inline int64_t linear_units(const Packed& w, int64_t rows) {
  const int64_t block = w.type == Type::bf16 ? block_rows<uint16_t>(w.k) : block_rows<float>(w.k);
  return (rows + block - 1) / block * panels_of(w.n);
}

template <class Step, class Turns, class Epilogue, class SideWork>
inline void linear_as(const Packed& w, const typename Step::Element* x, int64_t ldx, int64_t rows, Turns turns,
                      const Epilogue& epilogue, SideWork& side_work) {
  using Element = typename Step::Element;
  const int64_t panels = panels_of(w.n), elements = panel_elements<Step>(w.k), block = block_rows<Element>(w.k);
  const Element* data = static_cast<const Element*>(w.data);
  for (int64_t unit = turns.next(); unit >= 0; unit = turns.next()) {
    const int64_t panel = unit % panels, begin = unit / panels * block;
    const int64_t count = std::min(block, rows - begin), tiles = (count + kTileRows - 1) / kTileRows;
    const char* at_panel = reinterpret_cast<const char*>(data + panel * elements);
    for (int64_t at = 0; at < tiles; ++at) {
      const int64_t row = begin + count * at / tiles, stop = begin + count * (at + 1) / tiles;
      Ahead ahead = ahead_of(at_panel, panel + 1 == panels, elements * sizeof(Element), at, tiles,
                             kPanel * Step::depth * sizeof(Element));
      if (const auto piece = side_work.piece(w.k / Step::depth); piece.from != nullptr) {
        ahead.other = piece.from;
        ahead.other_stride = piece.stride;
      }
      tile_of<Step, kTileRows>(static_cast<int>(stop - row), w, data + panel * elements, panel * kPanel, x, ldx, row,
                               ahead, epilogue);
    }
    side_work.after_unit();
  }
}

// Calls `epilogue` for the units of y [rows, n] that `turns` gives this rank. `x` [rows, k] has the weight's type
// (bfloat16 as bits), with rows `ldx` elements apart. Needs no barrier, because units are disjoint parts of y.
template <class Turns, class Epilogue, class SideWork>
inline void linear(const Packed& w, const void* x, int64_t ldx, int64_t rows, Turns turns, const Epilogue& epilogue,
                   SideWork& side_work) {
  if (w.type == Type::bf16) {
    linear_as<StepBf16>(w, static_cast<const uint16_t*>(x), ldx, rows, turns, epilogue, side_work);
  } else {
    linear_as<StepF32>(w, static_cast<const float*>(x), ldx, rows, turns, epilogue, side_work);
  }
}

// y [rows, ldy] is set to x W^T + bias, or this is added to it.
template <class Turns, class SideWork>
inline void linear(const Packed& w, const void* x, int64_t ldx, int64_t rows, float* y, int64_t ldy, Turns turns,
                   bool accumulate, SideWork& side_work) {
  if (accumulate) {
    linear(w, x, ldx, rows, turns, Add{y, ldy}, side_work);
  } else {
    linear(w, x, ldx, rows, turns, Write{y, ldy}, side_work);
  }
}

template <class Turns>
inline void linear(const Packed& w, const void* x, int64_t ldx, int64_t rows, float* y, int64_t ldy, Turns turns,
                   bool accumulate = false) {
  NoSideWork none;
  linear(w, x, ldx, rows, y, ldy, turns, accumulate, none);
}

// Of what it meets the greatest value; of equal ones the lowest column, in whatever order they come.
struct Greatest {
  float value = -std::numeric_limits<float>::infinity();
  int32_t column = -1;
  void meet(float other, int32_t at) {
    if (at < 0 || other < value || (other == value && column >= 0 && column < at)) return;
    value = other;
    column = at;
  }
};

// Each row's greatest value so far and its column, lane by lane; a lane's column is -1 while it has none.
struct KeepGreatest {
  float* best;     // [rows, kLanes]
  int32_t* where;  // [rows, kLanes]
  QC_INLINE void take(int64_t row, int64_t column, Vec value, int64_t count) const {
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
// `lanes` and `where` are scratch, [rows, kLanes].
template <class Turns>
inline void linear_argmax(const Packed& w, const void* x, int64_t ldx, int64_t rows, Turns turns, float* lanes,
                          int32_t* where, float* best_value, int32_t* best_column) {
  std::fill(lanes, lanes + rows * kLanes, -std::numeric_limits<float>::infinity());
  std::fill(where, where + rows * kLanes, -1);
  NoSideWork none;
  linear(w, x, ldx, rows, turns, KeepGreatest{lanes, where}, none);
  for (int64_t row = 0; row < rows; ++row) {
    Greatest found;
    for (int lane = 0; lane < kLanes; ++lane) found.meet(lanes[row * kLanes + lane], where[row * kLanes + lane]);
    best_value[row] = found.value;
    best_column[row] = found.column;
  }
}

}  // namespace qc
