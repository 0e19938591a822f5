// C entry point to attention alone, for its test. Not part of the engine's library.
#include <cstdint>
#include <vector>

#include "attention.h"

namespace {

template <class Form>
void run(float* data, int64_t block_tokens, int64_t kv_heads, int64_t group, int64_t dim, const int32_t* table,
         int64_t position, int64_t tokens, const float* query, const float* key, const float* value, float* out) {
  using Element = typename Form::Element;
  const qc::Blocks<Form> blocks{reinterpret_cast<Element*>(data), kv_heads, dim, block_tokens};
  const int64_t heads = kv_heads * group;
  std::vector<Element> q(tokens * heads * dim), rounded(dim), result(tokens * heads * dim);
  for (size_t at = 0; at < q.size(); ++at) q[at] = Form::round(query[at]);
  std::vector<float> scratch(qc::score_floats(position + tokens, block_tokens));
  for (int64_t head = 0; head < kv_heads; ++head) {
    const qc::Context<Form> context{blocks, table, head};
    for (int64_t token = 0; token < tokens; ++token) {
      const int64_t from = (token * kv_heads + head) * dim;
      for (int64_t at = 0; at < dim; ++at) rounded[at] = Form::round(key[from + at]);
      qc::remember_key(context, position + token, rounded.data());
      for (int64_t at = 0; at < dim; ++at) rounded[at] = Form::round(value[from + at]);
      qc::remember_value(context, position + token, rounded.data());
    }
    const int64_t column = head * group * dim;
    qc::attend<Form>(context, q.data() + column, heads * dim, tokens, position, group, 1.0f / 8, scratch.data(),
                     result.data() + column, heads * dim, qc::Following<Form>{context, 0});
  }
  for (size_t at = 0; at < q.size(); ++at) {
    if constexpr (Form::per_word == 1) {
      out[at] = result[at];
    } else {
      const uint32_t bits = static_cast<uint32_t>(result[at]) << 16;
      std::memcpy(out + at, &bits, sizeof bits);
    }
  }
}

}  // namespace

extern "C" {

int64_t probe_block_elements(int64_t block_tokens, int64_t kv_heads, int64_t dim) {
  return qc::Blocks<qc::InF32>{nullptr, kv_heads, dim, block_tokens}.block_elements();
}

// `tokens` further tokens of one sequence, the first at `position`: stores their keys and values, then each attends.
// `query` [tokens, kv_heads, group, dim], `key` and `value` [tokens, kv_heads, dim], `out` like `query`; scale 1/8.
void probe_attend(float* data, int64_t block_tokens, int64_t kv_heads, int64_t group, int64_t dim, int32_t type,
                  const int32_t* table, int64_t position, int64_t tokens, const float* query, const float* key,
                  const float* value, float* out) {
  const auto with = type == 1 ? run<qc::InBf16> : run<qc::InF32>;
  with(data, block_tokens, kv_heads, group, dim, table, position, tokens, query, key, value, out);
}
}
