// A fixed set of threads that run one step together; the caller is rank 0.
//
// Between steps, and during a long wait for another rank, threads sleep on a futex, so an idle engine uses no core.
#pragma once
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <immintrin.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <thread>
#include <vector>

namespace qc {

// A number on whose change threads can wait.
class Epoch {
 public:
  uint32_t now() const { return value_.load(std::memory_order_acquire); }

  void advance() {
    value_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }
  }

  // Waits until the number is no longer `seen`: spins for `spins` rounds, after some of them with a yield of the core,
  // then sleeps.
  void wait_beyond(uint32_t seen, int spins) {
    for (int round = 0; round < spins; ++round) {
      if (now() != seen) return;
      if (round < kPauses) {
        _mm_pause();
      } else {
        sched_yield();
      }
    }
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    while (value_.load(std::memory_order_seq_cst) == seen) {
      syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value_), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    }
    sleeping_.fetch_sub(1, std::memory_order_seq_cst);
  }

 private:
  static constexpr int kPauses = 4000;  // about 60 to 100 microseconds

  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<int> sleeping_{0};
};

class Team {
 public:
  // Raises std::system_error if the system cannot start a thread; the threads started before have then ended.
  explicit Team(int ranks) : ranks_(ranks) {
    try {
      for (int rank = 1; rank < ranks; ++rank) others_.emplace_back([this, rank] { serve(rank); });
    } catch (...) {
      end();  // a thread that is destroyed before it is joined ends the process
      throw;
    }
  }

  ~Team() { end(); }

  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int ranks() const { return ranks_; }

  // Runs `work(rank)` on every rank at once; returns when all have returned. `work` must not throw.
  template <class Work>
  void run(Work& work) {
    if (ranks_ == 1) return work(0);
    work_ = [](void* it, int rank) { (*static_cast<Work*>(it))(rank); };
    argument_ = &work;
    start_.advance();
    work(0);
    barrier();
  }

  // Within `run`: returns when every rank has called it.
  void barrier() {
    if (ranks_ == 1) return;
    const uint32_t seen = met_.now();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == ranks_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      met_.advance();
    } else {
      met_.wait_beyond(seen, kSpinsInStep);
    }
  }

 private:
  void end() {
    stopping_ = true;
    start_.advance();
    for (std::thread& other : others_) other.join();
  }

  // Rounds of spinning before a thread sleeps. Waking a sleeping core can take half a millisecond on a virtual machine,
  // so threads that sleep early halve the speed of a single stream.
  static constexpr int kSpinsInStep = 40000;
  static constexpr int kSpinsBetweenSteps = 8000;

  void serve(int rank) {
    uint32_t seen = 0;
    for (;;) {
      start_.wait_beyond(seen++, kSpinsBetweenSteps);
      if (stopping_) return;
      work_(argument_, rank);
      barrier();
    }
  }

  const int ranks_;
  Epoch start_;
  Epoch met_;
  alignas(64) std::atomic<int> arrived_{0};
  void (*work_)(void*, int) = nullptr;
  void* argument_ = nullptr;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> others_;
};

}  // namespace qc
