// Causal grouped-query attention that reads keys and values in place, in blocks.
//
// A tile is up to 16 adjacent tokens of one block, for one key head of one layer:
//
//   keys    [dim / per word][16 tokens]    a vector holds one word of every token's key: no sum across lanes
//   values  [16 / per word][dim]           a word holds one token's element, or two tokens' in bfloat16
//
// A query row uses its keys in order of position: scores, then their maximum, then the weighted sum. Its result depends
// only on its own position and the keys before it. It does not depend on other rows, on how its prompt was split into
// chunks, or on the rest of a block (lanes after its position are not read).
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "form.h"
#include "gemm_tile.h"

namespace qc {

// The blocks of one layer.
template <class Form>
struct Blocks {
  typename Form::Element* data;
  int64_t kv_heads, dim, block_tokens;

  int64_t width() const { return std::min<int64_t>(block_tokens, kWide); }  // tokens of a tile
  int64_t tiles_in_block() const { return block_tokens / width(); }
  int64_t half_tile() const { return dim * kWide; }  // elements of its keys, and of its values
  int64_t block_elements() const { return kv_heads * tiles_in_block() * 2 * half_tile(); }
  typename Form::Element* keys(int64_t block, int64_t head, int64_t tile) const {
    return data + block * block_elements() + (head * tiles_in_block() + tile) * 2 * half_tile();
  }
};

// One sequence's blocks in order, for one key head.
template <class Form>
struct Context {
  const Blocks<Form>& blocks;
  const int32_t* table;
  int64_t head;

  typename Form::Element* keys(int64_t tile) const {
    const int64_t in_block = blocks.tiles_in_block();
    return blocks.keys(table[tile / in_block], head, tile % in_block);
  }
  typename Form::Element* values(int64_t tile) const { return keys(tile) + blocks.half_tile(); }
};

// Stores `key` and `value` [dim], already rounded, for the token at `position`.
template <class Form>
inline void remember_key(const Context<Form>& context, int64_t position, const typename Form::Element* key) {
  constexpr int64_t per = Form::per_word;
  const int64_t width = context.blocks.width(), lane = position % width;
  typename Form::Element* to = context.keys(position / width) + lane * per;
  for (int64_t at = 0; at < context.blocks.dim; at += per, to += kWide * per) {
    for (int64_t in = 0; in < per; ++in) to[in] = key[at + in];
  }
}

template <class Form>
inline void remember_value(const Context<Form>& context, int64_t position, const typename Form::Element* value) {
  constexpr int64_t per = Form::per_word;
  const int64_t width = context.blocks.width(), lane = position % width, dim = context.blocks.dim;
  typename Form::Element* to = context.values(position / width) + lane / per * dim * per + lane % per;
  if constexpr (per == 1) {
    std::copy(value, value + dim, to);
  } else {
    // The other half of each word belongs to another token.
    uint16_t* words = to - lane % per;
    for (int64_t at = 0; at < dim; at += kWide) put_halves(words + at * per, value + at, lane % per == 1);
  }
}

constexpr int kQueries = 6;  // query rows that share a read of keys and values: 6 x 4 accumulators

// Query rows that are computed together, and the end of each.
template <class Form>
struct Queries {
  const typename Form::Element* query[kQueries];  // [dim]
  typename Form::Element* out[kQueries];          // [dim]
  int64_t seen[kQueries];                         // tokens that the row sees, including its own; ascending
  float* scores[kQueries];                        // [tiles · 16], later overwritten by the weights
};

// The keys and values that are read next: they are prefetched meanwhile, one line of each at a time.
template <class Form>
struct Following {
  Context<Form> context;
  int64_t tiles;  // 0: none
};

// Loops over sums call themselves with the next index: see gemm_tile.h.

template <class Form, int Row = 0, int At = 0, int Rows, int Vectors>
QC_INLINE void add_products(Floats (&sums)[Rows][Vectors], const Words (&shared)[Vectors], Words own) {
  sums[Row][At] = Form::dot(sums[Row][At], own, shared[At]);
  if constexpr (At + 1 < Vectors) add_products<Form, Row, At + 1>(sums, shared, own);
}

// sums[row] += the word at `words[row]` + `offset`, times each of the vectors that all rows share.
template <class Form, int Row = 0, int Rows, int Vectors, class Pointer>
QC_INLINE void add_all(Floats (&sums)[Rows][Vectors], const Words (&shared)[Vectors], const Pointer* words,
                       int64_t offset) {
  add_products<Form, Row>(sums, shared, word_at(reinterpret_cast<const typename Form::Element*>(words[Row]) + offset));
  if constexpr (Row + 1 < Rows) add_all<Form, Row + 1>(sums, shared, words, offset);
}

template <int Row = 0, int At = 0, int Rows, int Vectors>
QC_INLINE void clear_all(Floats (&sums)[Rows][Vectors]) {
  sums[Row][At] = Floats::zero();
  if constexpr (At + 1 < Vectors) {
    clear_all<Row, At + 1>(sums);
  } else if constexpr (Row + 1 < Rows) {
    clear_all<Row + 1>(sums);
  }
}

template <class Form, int At = 0, int Tiles>
QC_INLINE void load_keys(Words (&key)[Tiles], const typename Form::Element* const (&keys)[Tiles], int64_t offset) {
  key[At] = Words::load(keys[At] + offset);
  if constexpr (At + 1 < Tiles) load_keys<Form, At + 1>(key, keys, offset);
}

template <int Lines>
QC_INLINE void ask_lines(const char* from) {
  _mm_prefetch(from, _MM_HINT_T1);
  if constexpr (Lines > 1) ask_lines<Lines - 1>(from + 64);
}

template <class Form, int Rows, int Tiles, bool Asks>
inline void score(const Context<Form>& context, const Queries<Form>& rows, int64_t tile, Floats scale,
                  Floats* highest, const Following<Form>& following) {
  constexpr int64_t per = Form::per_word;
  Floats sums[Rows][Tiles];
  const typename Form::Element* keys[Tiles];
  for (int t = 0; t < Tiles; ++t) keys[t] = context.keys(tile + t);
  clear_all(sums);
  const int64_t dim = context.blocks.dim;
  for (int part = 0; part < Tiles; ++part) {  // a part of the dimensions for each prefetched tile
    const char* ask = nullptr;
    if constexpr (Asks) {
      ask = reinterpret_cast<const char*>(following.context.keys(std::min(tile + part, following.tiles - 1)));
    }
    for (int64_t at = dim * part / Tiles; at < dim * (part + 1) / Tiles; at += per) {
      Words key[Tiles];
      load_keys<Form>(key, keys, at * kWide);
      add_all<Form>(sums, key, rows.query, at);
      if constexpr (Asks) {
        ask_lines<2 * Tiles>(ask);
        ask += 2 * Tiles * 64;
      }
    }
  }
  const int64_t width = context.blocks.width();
  const Floats nothing = Floats::all(-std::numeric_limits<float>::infinity());
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int t = 0; t < Tiles; ++t) {
      const int64_t count = std::clamp<int64_t>(rows.seen[row] - (tile + t) * width, 0, width);
      const Floats scored = first(static_cast<int>(count), sums[row][t] * scale, nothing);
      scored.store(rows.scores[row] + (tile + t) * kWide);
      highest[row] = greater(highest[row], scored);
    }
  }
}

// Scores become e^(score - highest), in the values' type; returns their sum.
template <class Form>
inline float weigh(float* scores, int64_t seen, int64_t tiles, int64_t width, float highest) {
  Floats sum = Floats::zero();
  const Floats top = Floats::all(highest);
  typename Form::Element* weights = reinterpret_cast<typename Form::Element*>(scores);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t count = std::clamp<int64_t>(seen - tile * width, 0, width);
    const Floats weight =
        first(static_cast<int>(count), exp(Floats::load(scores + tile * kWide) - top), Floats::zero());
    sum = sum + weight;
    Form::store(weights + tile * kWide, weight);  // never beyond what has been read: weights are no wider than scores
  }
  return sum_of(sum);
}

template <class Form, int Rows, int Vectors>
inline void mix(const Context<Form>& context, const Queries<Form>& rows, int64_t tiles, int64_t seen, int64_t column,
                const float* sums_of_weights) {
  constexpr int64_t per = Form::per_word;
  const int64_t dim = context.blocks.dim, width = context.blocks.width();
  Floats sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sums[row][v] = Floats::zero();
  const auto take = [&](const typename Form::Element* values, int64_t weight_at, auto keep) {
    Words value[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) value[v] = keep(Words::load(values + v * kWide * per));
    add_all<Form>(sums, value, rows.scores, weight_at);
  };
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const typename Form::Element* values = context.values(tile) + column * per;
    const int64_t count = std::min(width, seen - tile * width);
    int64_t at = 0;
    for (; at + per <= count; at += per) {
      take(values + at * dim, tile * kWide + at, [](Words all) { return all; });
    }
    // The other half of the last word is not part of this sequence, and is undefined.
    if (at < count) take(values + at * dim, tile * kWide + at, [](Words all) { return all & Words::all(0xffff); });
  }
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row) {
    const Floats scale = Floats::all(1.0f / sums_of_weights[row]);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) Form::store(rows.out[row] + column + v * kWide, sums[row][v] * scale);
  }
}

template <class Form, int Rows, bool Asks>
inline void attend_rows(const Context<Form>& context, const Queries<Form>& rows, float scale,
                        const Following<Form>& following) {
  const int64_t width = context.blocks.width(), seen = rows.seen[Rows - 1], tiles = (seen + width - 1) / width;
  Floats highest[Rows];
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row) highest[row] = Floats::all(-std::numeric_limits<float>::infinity());
  const Floats factor = Floats::all(scale);
  int64_t tile = 0;
  for (; tile + 4 <= tiles; tile += 4) score<Form, Rows, 4, Asks>(context, rows, tile, factor, highest, following);
  for (; tile < tiles; ++tile) score<Form, Rows, 1, Asks>(context, rows, tile, factor, highest, following);
  float sums[Rows];
#pragma GCC unroll 8
  for (int row = 0; row < Rows; ++row) {
    sums[row] = weigh<Form>(rows.scores[row], rows.seen[row], tiles, width, greatest_of(highest[row]));
  }
  int64_t column = 0;
  for (; column + 4 * kWide <= context.blocks.dim; column += 4 * kWide) {
    mix<Form, Rows, 4>(context, rows, tiles, seen, column, sums);
  }
  for (; column < context.blocks.dim; column += kWide) mix<Form, Rows, 1>(context, rows, tiles, seen, column, sums);
}

template <class Form, int Rows = kQueries>
inline void attend_to(int rows, const Context<Form>& context, const Queries<Form>& queries, float scale,
                      const Following<Form>& following) {
  if (rows == Rows) {
    if (following.tiles > 0) return attend_rows<Form, Rows, true>(context, queries, scale, following);
    return attend_rows<Form, Rows, false>(context, queries, scale, following);
  }
  if constexpr (Rows > 1) attend_to<Form, Rows - 1>(rows, context, queries, scale, following);
}

// Floats of scratch that rows with `seen` tokens need.
inline int64_t score_floats(int64_t seen, int64_t block_tokens) {
  const int64_t width = std::min<int64_t>(block_tokens, kWide);
  return kQueries * ((seen + width - 1) / width) * kWide;
}

// Adjacent tokens of one sequence, for one key head: `tokens` rows of `query` and `out`, the first at `position`.
// The `group` query heads of the key head are adjacent; rows are `ldq` and `ldo` elements apart.
template <class Form>
inline void attend(const Context<Form>& context, const typename Form::Element* query, int64_t ldq, int64_t tokens,
                   int64_t position, int64_t group, float scale, float* scratch, typename Form::Element* out,
                   int64_t ldo, Following<Form> following) {
  const int64_t dim = context.blocks.dim, rows = tokens * group;
  const int64_t stride = score_floats(position + tokens, context.blocks.block_tokens) / kQueries;
  for (int64_t begin = 0; begin < rows; begin += kQueries) {
    const int count = static_cast<int>(std::min<int64_t>(kQueries, rows - begin));
    Queries<Form> queries;
    for (int at = 0; at < count; ++at) {
      const int64_t token = (begin + at) / group, head = (begin + at) % group;
      queries.query[at] = query + token * ldq + head * dim;
      queries.out[at] = out + token * ldo + head * dim;
      queries.seen[at] = position + token + 1;
      queries.scores[at] = scratch + at * stride;
    }
    attend_to<Form>(count, context, queries, scale, following);
    following.tiles = 0;  // prefetched once
  }
}

}  // namespace qc
