// The input of a step: the base's weights, and one step's rows. native.py has the same structures, field by field.
#pragma once
#include <cstdint>

#include "adapter.h"
#include "gemm_pack.h"

namespace qc {

// A packed weight [n, k]; all weights of a model have one type.
struct Weight {
  const void* data;
  const float* bias;  // [n] or null
  int64_t n, k;
};

struct Layer {
  const float* attention_norm;  // [hidden]
  const float* mlp_norm;        // [hidden]
  Weight qkv, o, gate_up, down;
};

// The products of a layer, in the order of an adapter's sites.
enum Site { kQkv, kO, kGateUp, kDown, kSites };

struct Model {
  int32_t type;  // Type
  int32_t layers, hidden, heads, kv_heads, dim, inner, vocabulary, block_tokens;
  float eps, scale;
  const void* embedding;  // [vocabulary, hidden], not packed
  const float* cosine;    // [positions, dim / 2]
  const float* sine;
  const Layer* layer;
  const float* final_norm;  // [hidden]
  Weight head;
  void* blocks;  // [layers][blocks][block_elements], see attention.h
  int64_t block_count;
};

// Adjacent rows of one sequence.
struct Chunk {
  int32_t row, tokens;
  int32_t position;  // of its first token
  int32_t blocks_at;  // where its blocks begin in Step::blocks
};

struct StepSegment {
  int32_t begin, stop;
  const AdapterSite* sites;  // [layers · kSites]
};

struct Step {
  int32_t rows, chunks, segments, samples;
  int32_t greedy;  // number of samples, the first ones, of which only the likeliest token is needed
  const int32_t* tokens;  // [rows]
  const Chunk* chunk;     // [chunks]
  const int32_t* blocks;
  const StepSegment* segment;  // [segments], ascending
  const int32_t* sample_rows;  // [samples]
  int32_t* best;               // [greedy]: the likeliest token; -1 if no logit is a number
  float* logits;               // [samples - greedy, vocabulary]
  int64_t low_elements;        // greatest sum of ranks of a site of this step's adapters
  double* phase_s;             // [kPhases] or null: seconds of each phase are added, including barriers and waiting
};

// Phases of a step, as timed by the first rank.
enum Phase { kNorms, kQkvPhase, kHeads, kAttention, kOPhase, kGateUpPhase, kActivate, kDownPhase, kHead, kPhases };

}  // namespace qc
