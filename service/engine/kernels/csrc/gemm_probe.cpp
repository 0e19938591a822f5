// C entry points to the products alone, for their test and benchmark. Not part of the engine's library.
#include <cstdint>
#include <thread>
#include <vector>

#include "gemm.h"

namespace {

template <class Work>
void on_ranks(int ranks, const Work& work) {
  std::vector<std::thread> others;
  for (int rank = 1; rank < ranks; ++rank) others.emplace_back([&work, rank] { work(rank); });
  work(0);
  for (std::thread& other : others) other.join();
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
  on_ranks(ranks, [&](int rank) { qc::linear(w, x, ldx, rows, y, ldy, rank, ranks, accumulate != 0); });
}

void gemm_probe_argmax(const void* packed, int64_t n, int64_t k, int32_t type, const float* bias, const void* x,
                       int64_t ldx, int64_t rows, float* values, int32_t* columns, int32_t rank, int32_t ranks) {
  const qc::Packed w{packed, n, k, static_cast<qc::Type>(type), bias};
  qc::linear_argmax(w, x, ldx, rows, values, columns, rank, ranks);
}
}
