// C entry points to the products alone, for their test and benchmark. Not part of the engine's library.
#include <chrono>
#include <cstdint>
#include <vector>

#include "gemm.h"
#include "team.h"

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Reads all of it; the result depends on every byte.
uint32_t read_all(const char* data, int64_t bytes) {
  qc::Vec sums[8];
  for (auto& sum : sums) sum = qc::zero();
  for (int64_t at = 0; at + 8 * 64 <= bytes; at += 8 * 64) {
    for (int line = 0; line < 8; ++line) {
      for (int64_t in = 0; in < 64; in += qc::kLanes * 4) {
        sums[line] = qc::add(sums[line], qc::load(reinterpret_cast<const float*>(data + at + line * 64 + in)));
      }
    }
  }
  for (int line = 1; line < 8; ++line) sums[0] = qc::add(sums[0], sums[line]);
  float lanes[qc::kLanes];
  qc::store(lanes, sums[0]);
  uint32_t bits = 0;
  std::memcpy(&bits, lanes, sizeof bits);
  return bits;
}

void row_argmax(const qc::Packed& w, const void* x, int64_t ldx, int64_t rows, float* values, int32_t* columns, int rank,
            int ranks) {
  std::vector<float> lanes(static_cast<size_t>(rows * qc::kLanes));
  std::vector<int32_t> where(lanes.size());
  const qc::Fixed turns(qc::linear_units(w, rows), rank, ranks);
  qc::linear_argmax(w, x, ldx, rows, turns, lanes.data(), where.data(), values, columns);
}

}  // namespace

extern "C" {

const char* gemm_probe_level() { return qc::gemm_level(); }

int64_t gemm_probe_packed_bytes(int64_t n, int64_t k, int32_t type) {
  return static_cast<int64_t>(qc::packed_bytes(n, k, static_cast<qc::Type>(type)));
}

void gemm_probe_pack(const void* w, int64_t n, int64_t k, int32_t type, void* out, int64_t first) {
  qc::pack(w, n, k, static_cast<qc::Type>(type), out, first);
}

void gemm_probe_linear(const void* packed, int64_t n, int64_t k, int32_t type, const float* bias, const void* x,
                       int64_t ldx, int64_t rows, float* y, int64_t ldy, int32_t ranks, int32_t accumulate) {
  const qc::Packed w{packed, n, k, static_cast<qc::Type>(type), bias};
  qc::Team team(ranks);
  auto work = [&](int rank) { 
    qc::linear(w, x, ldx, rows, y, ldy, qc::Fixed(qc::linear_units(w, rows), rank, ranks), accumulate != 0);
  };
  team.run(work);
}

void gemm_probe_argmax(const void* packed, int64_t n, int64_t k, int32_t type, const float* bias, const void* x,
                       int64_t ldx, int64_t rows, float* values, int32_t* columns, int32_t rank, int32_t ranks) {
  const qc::Packed w{packed, n, k, static_cast<qc::Type>(type), bias};
  row_argmax(w, x, ldx, rows, values, columns, rank, ranks);
}

// Runs all weights one after another, as in a decode step, `rounds` times; returns the seconds of each round. The last
// `argmax` of them run like the head if all rows are greedy. x and y must be large enough for each weight.
void gemm_probe_chain(const qc::Packed* weights, int64_t count, int64_t argmax, const void* x, float* y, int64_t rows,
                      int32_t ranks, int64_t rounds, double* took) {
  qc::Team team(ranks);
  double began = 0;
  auto work = [&](int rank) {
    for (int64_t round = 0; round < rounds; ++round) {
      team.barrier();
      if (rank == 0) began = seconds();
      for (int64_t at = 0; at < count; ++at) {
        const qc::Packed& w = weights[at];
        if (at < count - argmax) {
          qc::linear(w, x, w.k, rows, y, w.n, qc::Fixed(qc::linear_units(w, rows), rank, ranks));
        } else {
          int32_t* columns = reinterpret_cast<int32_t*>(y + ranks * rows);
          row_argmax(w, x, w.k, rows, y + rank * rows, columns + rank * rows, rank, ranks);
        }
        team.barrier();
      }
      if (rank == 0) took[round] = seconds() - began;
    }
  };
  team.run(work);
}

// Reads the weights as `gemm_probe_chain` would and computes nothing: the floor of its time at few rows.
void gemm_probe_read(const qc::Packed* weights, int64_t count, int32_t ranks, int64_t rounds, double* took) {
  qc::Team team(ranks);
  std::atomic<uint32_t> sink{0};
  double began = 0;
  auto work = [&](int rank) {
    for (int64_t round = 0; round < rounds; ++round) {
      team.barrier();
      if (rank == 0) began = seconds();
      for (int64_t at = 0; at < count; ++at) {
        const qc::Packed& w = weights[at];
        const qc::Span panels = qc::share(qc::panels_of(w.n), rank, ranks);
        const int64_t bytes = static_cast<int64_t>(qc::packed_bytes(qc::kPanel, w.k, w.type));
        const char* from = static_cast<const char*>(w.data) + panels.begin * bytes;
        sink ^= read_all(from, (panels.end - panels.begin) * bytes);
      }
      team.barrier();
      if (rank == 0) took[round] = seconds() - began;
    }
  };
  team.run(work);
}
}
