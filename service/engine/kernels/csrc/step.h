// One step of a Llama-like model: from rows of tokens to the likeliest tokens or logits, in one parallel region.
//
//   embed, norm │ q k v, shrink │ expand, rope, remember │ attend │ o, shrink │ expand, norm │ gate up, shrink │
//   expand, activate │ down, shrink │ expand, norm │ ... │ head                      │ is a barrier
//
// The residual stream and the products' results are float32; inputs of products have the weights' type. Ranks share the
// columns of a phase, or its rows if the phase needs whole rows.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "activation.h"
#include "adapter.h"
#include "attention.h"
#include "between.h"
#include "deal.h"
#include "gemm.h"
#include "model.h"
#include "norm.h"
#include "rope.h"
#include "team.h"

namespace qc {

// Zeroed, aligned memory that only grows; growing discards its contents.
template <class Element>
class Buffer {
 public:
  Element* of(int64_t count) {
    if (count > capacity_) {
      const size_t bytes = (static_cast<size_t>(count) * sizeof(Element) + 63) / 64 * 64;
      memory_.reset(static_cast<Element*>(std::aligned_alloc(64, bytes)));
      if (!memory_) throw std::bad_alloc();
      std::memset(memory_.get(), 0, bytes);
      capacity_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(Element* it) const { std::free(it); }
  };
  std::unique_ptr<Element, Free> memory_;
  int64_t capacity_ = 0;
};

template <class Form>
class Stepper {
  using Element = typename Form::Element;
  using Clock = std::chrono::steady_clock;

 public:
  Stepper(const Model& model, Team& team)
      : m_(model),
        team_(team),
        counters_(static_cast<size_t>(model.layers)),
        laters_(static_cast<size_t>(team.ranks())),
        runs_(static_cast<size_t>((model.layers * kSites + 2) * team.ranks())) {}

  void run(const Step& step) {
    prepare(step);
    auto work = [this](int rank) { on_rank(rank); };
    team_.run(work);
  }

 private:
  // Query tokens of one unit of attention.
  static constexpr int kUnitTokens = 8;
  struct Unit {
    const Chunk* chunk;
    int32_t first, tokens;
  };

  void prepare(const Step& step) {
    s_ = step;
    rows_ = step.rows;
    segments_.clear();
    for (int at = 0; at < step.segments; ++at) {
      const StepSegment& it = step.segment[at];
      segments_.push_back({it.begin, it.stop, it.sites});
    }
    ldx_ = row_elements<Form>(m_.hidden);
    ldq_ = row_elements<Form>(m_.heads * m_.dim);
    lda_ = row_elements<Form>(m_.inner);
    // An odd number of cache lines: rows with a distance of a multiple of 4 KiB evict each other from the first level.
    ldy_ = std::max<int64_t>((m_.heads + 2 * m_.kv_heads) * m_.dim, 2 * m_.inner);
    ldy_ = rounded_up(ldy_, 32) + 16;
    ldlow_ = rounded_up(std::max<int64_t>(step.low_elements, 1), kWide * Form::per_word);
    h_ = h_memory_.of(rows_ * m_.hidden);
    x_ = x_memory_.of(rows_ * ldx_);
    y_ = y_memory_.of(rows_ * ldy_);
    q_ = q_memory_.of(rows_ * ldq_);
    attended_ = attended_memory_.of(rows_ * ldq_);
    active_ = active_memory_.of(rows_ * lda_);
    low_ = low_memory_.of(rows_ * ldlow_);
    last_ = last_memory_.of(step.samples * ldx_);
    best_lanes_ = best_lanes_memory_.of(team_.ranks() * step.greedy * kLanes);
    best_where_ = best_where_memory_.of(team_.ranks() * step.greedy * kLanes);
    best_value_ = best_value_memory_.of(team_.ranks() * step.samples);
    best_column_ = best_column_memory_.of(team_.ranks() * step.samples);
    plan_rows();
    deal_products();
  }

  void plan_rows() {
    chunk_of_.resize(static_cast<size_t>(rows_));
    sample_of_.assign(static_cast<size_t>(rows_), -1);
    units_.clear();
    int64_t longest = 0;
    for (int at = 0; at < s_.chunks; ++at) {
      const Chunk& chunk = s_.chunk[at];
      for (int32_t token = 0; token < chunk.tokens; ++token) chunk_of_[chunk.row + token] = &chunk;
      for (int32_t token = 0; token < chunk.tokens; token += kUnitTokens) {
        units_.push_back({&chunk, token, std::min<int32_t>(kUnitTokens, chunk.tokens - token)});
      }
      longest = std::max<int64_t>(longest, chunk.position + chunk.tokens);
    }
    for (int at = 0; at < s_.samples; ++at) sample_of_[static_cast<size_t>(s_.sample_rows[at])] = at;
    scratch_floats_ = score_floats(longest, m_.block_tokens);
    scratch_ = scratch_memory_.of(scratch_floats_ * team_.ranks());
    for (auto& counter : counters_) counter.store(0, std::memory_order_relaxed);
    // In a decode step all units cost the same. In a prefill the last units of a prompt cost most: take few at a time.
    grain_ = std::max<int64_t>(1, static_cast<int64_t>(units_.size()) * m_.kv_heads / (team_.ranks() * 8));
  }

  void on_rank(int rank) {
    const Span mine = share(rows_, rank, team_.ranks());
    if (rank == 0 && s_.phase_s != nullptr) phase_began_ = Clock::now();
    for (int64_t row = mine.begin; row < mine.end; ++row) embed(row);
    for (int layer = 0; layer < m_.layers; ++layer) {
      const Layer& it = m_.layer[layer];
      normed(mine, it.attention_norm);
      together(rank, kNorms);
      product(it.qkv, layer, kQkv, x_, ldx_, y_, ldy_, false, rank);
      together(rank, kQkvPhase);
      heads(layer, rank);
      together(rank, kHeads);
      attention(layer, rank);
      together(rank, kAttention);
      product(it.o, layer, kO, attended_, ldq_, h_, m_.hidden, true, rank);
      together(rank, kOPhase);
      add_deltas(layer, kO, mine, {0, m_.hidden}, h_, m_.hidden);
      normed(mine, it.mlp_norm);
      together(rank, kNorms);
      product(it.gate_up, layer, kGateUp, x_, ldx_, y_, ldy_, false, rank);
      together(rank, kGateUpPhase);
      activate(layer, rank);
      together(rank, kActivate);
      product(it.down, layer, kDown, active_, lda_, h_, m_.hidden, true, rank);
      together(rank, kDownPhase);
      add_deltas(layer, kDown, mine, {0, m_.hidden}, h_, m_.hidden);
    }
    for (int64_t row = mine.begin; row < mine.end; ++row) {
      const int64_t sample = sample_of_[static_cast<size_t>(row)];
      if (sample >= 0) {
        rms_norm<Form>(h_ + row * m_.hidden, m_.final_norm, m_.eps, m_.hidden, last_ + sample * ldx_);
      }
    }
    together(rank, kNorms);
    head(rank);
    if (s_.phase_s != nullptr) together(rank, kHead);
  }

  // Waits for the other ranks; the time since the last such point is the phase's.
  void together(int rank, Phase phase) {
    team_.barrier();
    if (rank != 0 || s_.phase_s == nullptr) return;
    const Clock::time_point now = Clock::now();
    s_.phase_s[phase] += std::chrono::duration<double>(now - phase_began_).count();
    phase_began_ = now;
  }

  void embed(int64_t row) {
    const Element* from = static_cast<const Element*>(m_.embedding) + static_cast<int64_t>(s_.tokens[row]) * m_.hidden;
    for (int64_t at = 0; at < m_.hidden; at += kWide) Form::load(from + at).store(h_ + row * m_.hidden + at);
  }

  void normed(Span rows, const float* weight) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      rms_norm<Form>(h_ + row * m_.hidden, weight, m_.eps, m_.hidden, x_ + row * ldx_);
    }
  }

  // The rank's columns of x W^T and, between its units, its part of the adapters' x A^T.
  void product(const Weight& weight, int layer, Site site, const Element* x, int64_t ldx, float* y, int64_t ldy,
               bool accumulate, int rank) {
    const int number = layer * kSites + site;
    const Packed packed = packed_of(weight);
    if (segments_.empty()) return linear(packed, x, ldx, rows_, y, ldy, turns(number, rank), accumulate);
    std::vector<Reading>& later = laters_[static_cast<size_t>(rank)];
    later.clear();
    read_later(number, rank, later);
    const Shrinking<Form> work{segments_, number, x, ldx, weight.k, low_, ldlow_};
    Between<Form> between(work, rank, team_.ranks(), linear_units(packed, rows_), later);
    linear(packed, x, ldx, rows_, y, ldy, turns(number, rank), accumulate, between);
    between.finish();
  }

  // The parts of B that the rank reads in the phase after product `number`, in order, up to a part of the cache.
  void read_later(int number, int rank, std::vector<Reading>& runs) {
    const int ranks = team_.ranks();
    int64_t left = kLaterBytes;
    const auto columns_of = [&](const Segment& segment, Span columns) {
      const AdapterSite& site = segment.sites[number];
      for (int at = 0; at < site.parts && left > 0; ++at) {
        const AdapterPart& part = site.part[at];
        const int64_t from = std::max<int64_t>(columns.begin, part.out_at);
        const int64_t bytes = (std::min<int64_t>(columns.end, part.out_at + part.out) - from) * part.rank_words * 4;
        if (part.b == nullptr || bytes <= 0) continue;
        runs.push_back({static_cast<const uint32_t*>(part.b) + (from - part.out_at) * part.rank_words, bytes});
        left -= bytes;
      }
    };
    const int64_t dim = m_.dim;
    const Span rows = share(rows_, rank, ranks), vectors = share(m_.inner / kWide, rank, ranks);
    for (const Segment& segment : segments_) {
      if (left <= 0) return;
      switch (number % kSites) {
        case kQkv:
          for (const auto& [heads, first] : shares_of_heads(rank)) {
            columns_of(segment, {(first + heads.begin) * dim, (first + heads.end) * dim});
          }
          break;
        case kGateUp:
          columns_of(segment, {vectors.begin * kWide, vectors.end * kWide});
          columns_of(segment, {m_.inner + vectors.begin * kWide, m_.inner + vectors.end * kWide});
          break;
        default:
          if (segment.begin < rows.end && rows.begin < segment.stop) columns_of(segment, {0, m_.hidden});
      }
    }
  }

  // Adds the adapters' part to `columns` of `rows`.
  void add_deltas(int layer, Site site, Span rows, Span columns, float* y, int64_t ldy) {
    for (size_t at = 0; at < segments_.size(); ++at) {
      const Segment& segment = segments_[at];
      const int64_t begin = std::max(rows.begin, segment.begin), stop = std::min(rows.end, segment.stop);
      if (begin >= stop) continue;
      if (stop < rows.end && at + 1 < segments_.size()) {
        const AdapterSite& next = segments_[at + 1].sites[layer * kSites + site];
        for (int part = 0; part < next.parts; ++part) ask_columns(next.part[part], columns.begin, columns.end);
      }
      const AdapterSite& here = segment.sites[layer * kSites + site];
      for (int part = 0; part < here.parts; ++part) {
        expand<Form>(here.part[part], low_, ldlow_, begin, stop, columns.begin, columns.end, y, ldy);
      }
    }
  }

  // A rank's heads of one kind; the first head of this kind is head `first` of the fused product.
  struct HeadShare {
    Span heads;
    int64_t first;
  };

  // Its queries, keys and values. Keys cost more than values: a rank with fewer keys gets more values.
  std::array<HeadShare, 3> shares_of_heads(int rank) const {
    const int ranks = team_.ranks();
    return {HeadShare{share(m_.heads, rank, ranks), 0},
            HeadShare{share(m_.kv_heads, ranks - 1 - rank, ranks), m_.heads},
            HeadShare{share(m_.kv_heads, rank, ranks), m_.heads + m_.kv_heads}};
  }

  // Queries, keys and values of the rank's heads: adapters, positions, rounding; keys and values go to their blocks.
  void heads(int layer, int rank) {
    const auto [queries, keys, values] = shares_of_heads(rank);
    const Blocks<Form> blocks = layer_blocks(layer);
    for (int64_t begin = 0; begin < rows_; begin += kRowBlock) {
      const Span rows{begin, std::min(begin + kRowBlock, rows_)};
      finish_heads(layer, rows, queries.heads, queries.first, true, [&](int64_t row, int64_t head, const Element* rounded) {
        std::copy(rounded, rounded + m_.dim, q_ + row * ldq_ + head * m_.dim);
      });
      finish_heads(layer, rows, keys.heads, keys.first, true, [&](int64_t row, int64_t head, const Element* rounded) {
        remember_key(context(blocks, row, head), position(row), rounded);
      });
      finish_heads(layer, rows, values.heads, values.first, false,
                   [&](int64_t row, int64_t head, const Element* rounded) {
                     remember_value(context(blocks, row, head), position(row), rounded);
                   });
    }
  }

  // Heads of one kind, the first being head `first` of the fused product: adds the adapters' part, rotates, and calls
  // `take(row, head, rounded)`.
  template <class Take>
  void finish_heads(int layer, Span rows, Span heads, int64_t first, bool rotated, const Take& take) {
    const int64_t dim = m_.dim, half = dim / 2;
    alignas(64) Element rounded[kMostDim];
    if (heads.begin == heads.end) return;
    add_deltas(layer, kQkv, rows, {(first + heads.begin) * dim, (first + heads.end) * dim}, y_, ldy_);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t at = position(row);
      for (int64_t head = heads.begin; head < heads.end; ++head) {
        float* from = y_ + row * ldy_ + (first + head) * dim;
        if (rotated) rotate(from, m_.cosine + at * half, m_.sine + at * half, half);
        for (int64_t in = 0; in < dim; in += kWide) Form::store(rounded + in, Floats::load(from + in));
        take(row, head, rounded);
      }
    }
  }

  int64_t position(int64_t row) const {
    const Chunk& chunk = *chunk_of_[static_cast<size_t>(row)];
    return chunk.position + row - chunk.row;
  }

  Context<Form> context(const Blocks<Form>& blocks, int64_t row, int64_t kv_head) const {
    return {blocks, s_.blocks + chunk_of_[static_cast<size_t>(row)]->blocks_at, kv_head};
  }

  void attention(int layer, int rank) {
    const Blocks<Form> blocks = layer_blocks(layer);
    const int64_t total = static_cast<int64_t>(units_.size()) * m_.kv_heads;
    auto& counter = counters_[static_cast<size_t>(layer)];
    const auto take = [&] { return counter.fetch_add(grain_, std::memory_order_relaxed); };
    // One share is taken ahead, so that the next unit is known while the last unit of a share is computed.
    for (int64_t begin = take(), next; begin < total; begin = next) {
      next = take();
      const int64_t end = std::min(begin + grain_, total);
      for (int64_t at = begin; at < end; ++at) attend_unit(blocks, at, at + 1 < end ? at + 1 : next, rank);
    }
  }

  // Computes unit `at` of one layer, and prefetches what unit `then` reads.
  void attend_unit(const Blocks<Form>& blocks, int64_t at, int64_t then, int rank) {
    const Unit& unit = units_[static_cast<size_t>(at / m_.kv_heads)];
    const int64_t group = m_.heads / m_.kv_heads, kv_head = at % m_.kv_heads, row = unit.chunk->row + unit.first;
    const int64_t column = kv_head * group * m_.dim;
    const bool last = then >= static_cast<int64_t>(units_.size()) * m_.kv_heads;
    const int64_t next_at = last ? at : then;
    const Unit& next = units_[static_cast<size_t>(next_at / m_.kv_heads)];
    const int64_t seen = next.chunk->position + next.first + next.tokens;
    const Following<Form> following{unit_context(blocks, next_at),
                                    last ? 0 : (seen + blocks.width() - 1) / blocks.width()};
    attend<Form>(unit_context(blocks, at), q_ + row * ldq_ + column, ldq_, unit.tokens,
                 unit.chunk->position + unit.first, group, m_.scale, scratch_ + rank * scratch_floats_,
                 attended_ + row * ldq_ + column, ldq_, following);
  }

  Context<Form> unit_context(const Blocks<Form>& blocks, int64_t at) const {
    return {blocks, s_.blocks + units_[static_cast<size_t>(at / m_.kv_heads)].chunk->blocks_at, at % m_.kv_heads};
  }

  void activate(int layer, int rank) {
    const Span vectors = share(m_.inner / kWide, rank, team_.ranks());
    const Span mine{vectors.begin * kWide, vectors.end * kWide};
    for (int64_t begin = 0; begin < rows_; begin += kRowBlock) {
      const Span rows{begin, std::min(begin + kRowBlock, rows_)};
      add_deltas(layer, kGateUp, rows, mine, y_, ldy_);
      add_deltas(layer, kGateUp, rows, {m_.inner + mine.begin, m_.inner + mine.end}, y_, ldy_);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const float* y = y_ + row * ldy_;
        silu_times<Form>(y, y + m_.inner, mine.begin, mine.end, active_ + row * lda_);
      }
    }
  }

  void head(int rank) {
    const int64_t greedy = s_.greedy, others = s_.samples - greedy;
    const Packed packed = packed_of(m_.head);
    if (others > 0) {
      linear(packed, last_ + greedy * ldx_, ldx_, others, s_.logits, m_.vocabulary, turns(drawn_head(), rank));
    }
    if (greedy == 0) return;
    const int64_t mine = rank * greedy;
    linear_argmax(packed, last_, ldx_, greedy, turns(greedy_head(), rank), best_lanes_ + mine * kLanes,
                  best_where_ + mine * kLanes, best_value_ + mine, best_column_ + mine);
    team_.barrier();
    if (rank != 0) return;
    for (int64_t sample = 0; sample < greedy; ++sample) {
      Greatest found;
      for (int other = 0; other < team_.ranks(); ++other) {
        found.meet(best_value_[other * greedy + sample], best_column_[other * greedy + sample]);
      }
      s_.best[sample] = found.column;
    }
  }

  static Packed packed_of(const Weight& weight) {
    return {weight.data, weight.n, weight.k, Form::type, weight.bias};
  }

  // Products of a step by number: a layer's sites, then the head for drawn and for greedy samples.
  int64_t drawn_head() const { return m_.layers * kSites; }
  int64_t greedy_head() const { return m_.layers * kSites + 1; }

  void deal_products() {
    const auto give = [this](int64_t number, const Weight& weight, int64_t rows) {
      deal(&runs_[static_cast<size_t>(number * team_.ranks())], linear_units(packed_of(weight), rows), team_.ranks());
    };
    for (int layer = 0; layer < m_.layers; ++layer) {
      const Layer& it = m_.layer[layer];
      const Weight* sites[kSites] = {&it.qkv, &it.o, &it.gate_up, &it.down};
      for (int site = 0; site < kSites; ++site) give(layer * kSites + site, *sites[site], rows_);
    }
    give(drawn_head(), m_.head, s_.samples - s_.greedy);
    give(greedy_head(), m_.head, s_.greedy);
  }

  Dealt turns(int64_t number, int rank) {
    return Dealt(&runs_[static_cast<size_t>(number * team_.ranks())], rank, team_.ranks());
  }

  Blocks<Form> layer_blocks(int layer) const {
    Blocks<Form> blocks{static_cast<Element*>(m_.blocks), m_.kv_heads, m_.dim, m_.block_tokens};
    blocks.data += layer * m_.block_count * blocks.block_elements();
    return blocks;
  }

  static constexpr int64_t kRowBlock = 16;
  static constexpr int64_t kLaterBytes = 400 * 1024;  // of a second-level cache of 1 MiB, which weights pass through too
  static constexpr int64_t kMostDim = 512;

  const Model& m_;
  Team& team_;
  Step s_{};
  Clock::time_point phase_began_;  // the first rank's
  int64_t rows_ = 0, ldx_ = 0, ldq_ = 0, lda_ = 0, ldy_ = 0, ldlow_ = 0, scratch_floats_ = 0, grain_ = 1;
  float *h_ = nullptr, *y_ = nullptr, *scratch_ = nullptr, *best_value_ = nullptr, *best_lanes_ = nullptr;
  Element *x_ = nullptr, *q_ = nullptr, *attended_ = nullptr, *active_ = nullptr, *low_ = nullptr, *last_ = nullptr;
  int32_t *best_column_ = nullptr, *best_where_ = nullptr;
  std::vector<Segment> segments_;
  std::vector<std::vector<Reading>> laters_;  // by rank
  std::vector<const Chunk*> chunk_of_;
  std::vector<int64_t> sample_of_;
  std::vector<Unit> units_;
  std::vector<std::atomic<int64_t>> counters_;  // units taken so far, by layer
  std::vector<Run> runs_;                       // [products][ranks]
  Buffer<float> h_memory_, y_memory_, scratch_memory_, best_value_memory_, best_lanes_memory_;
  Buffer<Element> x_memory_, q_memory_, attended_memory_, active_memory_, low_memory_, last_memory_;
  Buffer<int32_t> best_column_memory_, best_where_memory_;
};

}  // namespace qc
