// The adapters' x A^T, between the units of the base's product.
//
// With many rows, the base's part is bound by computing and leaves the memory idle. The adapters' part, with a few rows
// each, is bound by memory. So each adapter is computed after some unit of the base, and its A is prefetched while this
// unit is computed. During the second half of the units, B for the next phase is prefetched too.
// Measurements: docs/decisions.md.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "adapter.h"
#include "deal.h"
#include "gemm.h"

namespace qc {

// Memory that is read from front to back.
struct Reading {
  const void* from;
  int64_t bytes;
};

// The first half of all adapters' part for one product: low = x A^T.
template <class Form>
struct Shrinking {
  const std::vector<Segment>& segments;
  int number;                      // layer · sites + site
  const typename Form::Element* x;
  int64_t ldx, in;
  typename Form::Element* low;
  int64_t ldlow;
};

// One rank's part of it; `SideWork` of the base's product.
template <class Form>
class Between {
  using Element = typename Form::Element;

 public:
  // `units` of the base's product are shared by `ranks`.
  Between(const Shrinking<Form>& work, int rank, int ranks, int64_t units, const std::vector<Reading>& later)
      : work_(work), rank_(rank), ranks_(ranks), units_(std::max<int64_t>(1, units / ranks)), later_(later) {}

  // Adjacent lines to prefetch during a tile of `steps`, at most one per step.
  NoSideWork::Piece piece(int64_t steps) {
    if (at_ == end_ && !next_run()) return {nullptr, 0};
    const int64_t bytes = std::min<int64_t>(end_ - at_, steps * kLine);
    const NoSideWork::Piece found{at_, (bytes + steps - 1) / steps};
    at_ += bytes;
    return found;
  }

  void after_unit() { shrink_until(due(++unit_)); }

  // Computes the rest: a rank may have had fewer units than its share.
  void finish() { shrink_until(work_.segments.size()); }

 private:
  static constexpr int64_t kLine = 64;

  // Number of adapters that must be computed when this many of the rank's units are done.
  size_t due(int64_t units) const {
    const int64_t count = static_cast<int64_t>(work_.segments.size());
    return static_cast<size_t>(std::min(count, (count * units + units_ - 1) / units_));
  }

  // In groups of four, so that the work of a rank is whole vectors; the first rank changes with the segment.
  Span ranks_of(size_t segment) const {
    const int turn = static_cast<int>((segment + static_cast<size_t>(rank_)) % static_cast<size_t>(ranks_));
    const int64_t all = site(segment).ranks;
    const Span fours = share((all + 3) / 4, turn, ranks_);
    return {fours.begin * 4, std::min(fours.end * 4, all)};
  }

  const AdapterSite& site(size_t segment) const { return work_.segments[segment].sites[work_.number]; }

  bool next_run() {
    const int64_t row = row_elements<Form>(work_.in);
    while (asked_ < due(unit_ + 1)) {
      const Span mine = ranks_of(asked_);
      const Element* a = static_cast<const Element*>(site(asked_).a) + mine.begin * row;
      ++asked_;
      if (mine.begin < mine.end) return set(a, (mine.end - mine.begin) * row * static_cast<int64_t>(sizeof(Element)));
    }
    if (2 * unit_ < units_ || later_at_ == later_.size()) return false;
    const Reading& next = later_[later_at_++];
    return set(next.from, next.bytes);
  }

  bool set(const void* from, int64_t bytes) {
    at_ = static_cast<const char*>(from);
    end_ = at_ + bytes;
    return true;
  }

  void shrink_until(size_t count) {
    for (; done_ < count; ++done_) {
      const Segment& segment = work_.segments[done_];
      const Span mine = ranks_of(done_);
      shrink<Form>(site(done_), work_.x, work_.ldx, work_.in, segment.begin, segment.stop, mine.begin, mine.end,
                   work_.low, work_.ldlow);
    }
  }

  const Shrinking<Form>& work_;
  const int rank_, ranks_;
  const int64_t units_;
  const std::vector<Reading>& later_;
  const char *at_ = nullptr, *end_ = nullptr;
  int64_t unit_ = 0;
  size_t asked_ = 0, done_ = 0, later_at_ = 0;
};

}  // namespace qc
