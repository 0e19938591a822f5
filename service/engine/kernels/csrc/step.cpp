// The C entry points of the native backend: one library a processor level, see build.py and native.py.
#include "step.h"

#include <cerrno>
#include <new>
#include <system_error>

namespace {

struct Engine {
  Engine(const qc::Model& given, int threads) : model(given), team(threads), in_f32(model, team), in_bf16(model, team) {}

  void run(const qc::Step& step) {
    if (static_cast<qc::Type>(model.type) == qc::Type::bf16) {
      in_bf16.run(step);
    } else {
      in_f32.run(step);
    }
  }

  const qc::Model model;
  qc::Team team;
  qc::Stepper<qc::InF32> in_f32;
  qc::Stepper<qc::InBf16> in_bf16;
};

template <class Form>
int64_t block_bytes(const qc::Model& model) {
  const qc::Blocks<Form> blocks{nullptr, model.kv_heads, model.dim, model.block_tokens};
  return model.layers * blocks.block_elements() * static_cast<int64_t>(sizeof(typename Form::Element));
}

bool is_bf16(int32_t type) { return static_cast<qc::Type>(type) == qc::Type::bf16; }

}  // namespace

extern "C" {

// Sizes of the structures passed by pointer, with which native.py checks its own.
void qc_sizes(int64_t* out) {
  out[0] = sizeof(qc::Model);
  out[1] = sizeof(qc::Layer);
  out[2] = sizeof(qc::Step);
  out[3] = sizeof(qc::Chunk);
  out[4] = sizeof(qc::StepSegment);
  out[5] = sizeof(qc::AdapterSite);
}

const char* qc_level() { return qc::gemm_level(); }

// -- packing, once at load ------------------------------------------------------------------------------------

int64_t qc_packed_bytes(int64_t n, int64_t k, int32_t type) {
  return static_cast<int64_t>(qc::packed_bytes(n, k, static_cast<qc::Type>(type)));
}

void qc_pack(const void* w, int64_t n, int64_t k, int32_t type, void* out, int64_t first) {
  qc::pack(w, n, k, static_cast<qc::Type>(type), out, first);
}

// Elements of one packed row of A.
int64_t qc_adapter_row(int64_t in, int32_t type) {
  return is_bf16(type) ? qc::row_elements<qc::InBf16>(in) : qc::row_elements<qc::InF32>(in);
}

void qc_adapter_pack_a(const void* a_t, int64_t in, int64_t rank, int32_t type, void* out) {
  if (is_bf16(type)) {
    qc::pack_a<qc::InBf16>(static_cast<const uint16_t*>(a_t), in, rank, static_cast<uint16_t*>(out));
  } else {
    qc::pack_a<qc::InF32>(static_cast<const float*>(a_t), in, rank, static_cast<float*>(out));
  }
}

void qc_adapter_pack_b(const void* b_t, int64_t rank, int64_t out_size, int32_t type, void* out) {
  if (is_bf16(type)) {
    qc::pack_b<qc::InBf16>(static_cast<const uint16_t*>(b_t), rank, out_size, static_cast<uint16_t*>(out));
  } else {
    qc::pack_b<qc::InF32>(static_cast<const float*>(b_t), rank, out_size, static_cast<float*>(out));
  }
}

// Bytes of one block over all layers.
int64_t qc_block_bytes(const qc::Model* model) {
  return is_bf16(model->type) ? block_bytes<qc::InBf16>(*model) : block_bytes<qc::InF32>(*model);
}

// -- running --------------------------------------------------------------------------------------------------

// Copies the model, but not what it points at. Null if there is no memory or no thread; `error` is then the errno.
void* qc_engine_new(const qc::Model* model, int32_t threads, int32_t* error) {
  try {
    return new Engine(*model, threads);
  } catch (const std::system_error& none) {
    *error = none.code().value();
  } catch (...) {
    *error = ENOMEM;
  }
  return nullptr;
}

void qc_engine_free(void* engine) { delete static_cast<Engine*>(engine); }

// 0; or 1 if there is no memory for the step, and then nothing was computed. Exceptions must not leave: Python's frames
// cannot be unwound, so the process would end.
int32_t qc_step(void* engine, const qc::Step* step) {
  try {
    static_cast<Engine*>(engine)->run(*step);
    return 0;
  } catch (...) {  // bad_alloc, or a vector's size cannot be addressed
    return 1;
  }
}
}
