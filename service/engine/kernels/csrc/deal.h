// Work stealing: assigns equal units of work to ranks (threads).
//
// A rank begins with its own run of adjacent units, so memory is read in order. Then it takes units from the ends of
// other runs. The result of a unit does not depend on the rank. On a busy machine a rank loses its core from time to
// time; without stealing, all others would wait for it at the next barrier.
#pragma once
#include <atomic>
#include <cstdint>

namespace qc {

// Half-open range.
struct Span {
  int64_t begin, end;
};

// The share of `rank` of `ranks`: adjacent units; the sizes of shares differ by at most one.
inline Span share(int64_t count, int rank, int ranks) { return {count * rank / ranks, count * (rank + 1) / ranks}; }

// A rank's own share, without stealing.
class Fixed {
 public:
  Fixed(int64_t units, int rank, int ranks) : left_(share(units, rank, ranks)) {}
  // The next unit, or -1.
  int64_t next() { return left_.begin < left_.end ? left_.begin++ : -1; }

 private:
  Span left_;
};

// The rest of one rank's run: its owner takes units from the front, others from the back.
class alignas(64) Run {
 public:
  void set(Span span) { left_.store(packed(span.begin, span.end), std::memory_order_relaxed); }

  int64_t front() {
    uint64_t left = left_.load(std::memory_order_relaxed);
    while (begin(left) < end(left)) {
      if (left_.compare_exchange_weak(left, packed(begin(left) + 1, end(left)), std::memory_order_relaxed)) {
        return begin(left);
      }
    }
    return -1;
  }

  int64_t back() {
    uint64_t left = left_.load(std::memory_order_relaxed);
    while (begin(left) < end(left)) {
      if (left_.compare_exchange_weak(left, packed(begin(left), end(left) - 1), std::memory_order_relaxed)) {
        return end(left) - 1;
      }
    }
    return -1;
  }

 private:
  static uint64_t packed(int64_t begin, int64_t end) {
    return static_cast<uint64_t>(begin) << 32 | static_cast<uint64_t>(end);
  }
  static int64_t begin(uint64_t left) { return static_cast<int64_t>(left >> 32); }
  static int64_t end(uint64_t left) { return static_cast<int64_t>(left & 0xffffffffu); }

  std::atomic<uint64_t> left_{0};
};

// Sets `runs` [ranks] to the ranks' shares; call it before the ranks start.
inline void deal(Run* runs, int64_t units, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) runs[rank].set(share(units, rank, ranks));
}

// The units of a rank: its own run, then the rest of other runs.
class Dealt {
 public:
  Dealt(Run* runs, int rank, int ranks) : runs_(runs), rank_(rank), ranks_(ranks) {}
  // The next unit, or -1.
  int64_t next() {
    int64_t unit = runs_[rank_].front();
    for (int other = 1; unit < 0 && other < ranks_; ++other) unit = runs_[(rank_ + other) % ranks_].back();
    return unit;
  }

 private:
  Run* runs_;
  int rank_, ranks_;
};

}  // namespace qc
