// Whole steps of a small random model on several threads, to be built with a sanitizer: see test_sanitizers.py.
//
//   steps_under_sanitizer THREADS
//
// Prompts in chunks, decoding rows, rows of the base and of adapters of several ranks share a step. All buffers have
// their exact size, so that a read or write beside one is found. Exits with 1 if logits differ by a bit from those
// that one thread gives.
#include "step.cpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

namespace {

constexpr int kLayers = 2, kHidden = 64, kHeads = 4, kKvHeads = 2, kDim = 16, kInner = 96, kVocabulary = 211;
constexpr int kBlockTokens = 8, kBlocks = 64, kPositions = 128;

// Aligned memory of exactly that size.
template <class Element>
class Exact {
 public:
  explicit Exact(int64_t count) : count_(count) {
    void* found = nullptr;  // not aligned_alloc, which wants whole multiples of the alignment
    if (posix_memalign(&found, 64, static_cast<size_t>(count) * sizeof(Element)) != 0) std::abort();
    memory_ = static_cast<Element*>(found);
    std::memset(memory_, 0, static_cast<size_t>(count) * sizeof(Element));
  }
  Exact(Exact&& other) noexcept : memory_(other.memory_), count_(other.count_) { other.memory_ = nullptr; }
  Exact(const Exact&) = delete;
  Exact& operator=(const Exact&) = delete;
  ~Exact() { std::free(memory_); }
  Element* get() const { return memory_; }
  int64_t count() const { return count_; }

 private:
  Element* memory_;
  int64_t count_;
};

std::mt19937 draw{7};

float random_float() { return std::normal_distribution<float>(0.0f, 0.15f)(draw); }

Exact<float> random_floats(int64_t count, float add = 0.0f) {
  Exact<float> made(count);
  for (int64_t at = 0; at < count; ++at) made.get()[at] = add + random_float();
  return made;
}

template <class Form>
Exact<typename Form::Element> random_elements(int64_t count) {
  Exact<typename Form::Element> made(count);
  for (int64_t at = 0; at < count; ++at) made.get()[at] = Form::round(random_float());
  return made;
}

// The memory that a model or an adapter points into.
struct Kept {
  std::vector<Exact<float>> floats;
  std::vector<Exact<char>> bytes;
  std::vector<Exact<uint16_t>> halves;

  const float* keep(Exact<float> made) {
    floats.push_back(std::move(made));
    return floats.back().get();
  }
  const void* keep_elements(Exact<float> made) { return keep(std::move(made)); }
  const void* keep_elements(Exact<uint16_t> made) {
    halves.push_back(std::move(made));
    return halves.back().get();
  }
  char* room(int64_t size) {
    bytes.emplace_back(size);
    return bytes.back().get();
  }
};

template <class Form>
qc::Weight random_weight(Kept& kept, int64_t n, int64_t k, bool biased) {
  const auto weight = random_elements<Form>(n * k);
  char* packed = kept.room(qc_packed_bytes(n, k, static_cast<int32_t>(Form::type)));
  qc_pack(weight.get(), n, k, static_cast<int32_t>(Form::type), packed, 0);
  return {packed, biased ? kept.keep(random_floats(n)) : nullptr, n, k};
}

template <class Form>
struct Base {
  Kept kept;
  std::vector<qc::Layer> layers;
  qc::Model model{};

  Base() {
    const int64_t qkv = (kHeads + 2 * kKvHeads) * kDim;
    for (int at = 0; at < kLayers; ++at) {
      layers.push_back({kept.keep(random_floats(kHidden, 1.0f)), kept.keep(random_floats(kHidden, 1.0f)),
                        random_weight<Form>(kept, qkv, kHidden, true),
                        random_weight<Form>(kept, kHidden, kHeads * kDim, false),
                        random_weight<Form>(kept, 2 * kInner, kHidden, false),
                        random_weight<Form>(kept, kHidden, kInner, false)});
    }
    model.type = static_cast<int32_t>(Form::type);
    model.layers = kLayers, model.hidden = kHidden, model.heads = kHeads, model.kv_heads = kKvHeads;
    model.dim = kDim, model.inner = kInner, model.vocabulary = kVocabulary, model.block_tokens = kBlockTokens;
    model.eps = 1e-5f, model.scale = 0.25f;
    model.embedding = kept.keep_elements(random_elements<Form>(kVocabulary * kHidden));
    Exact<float> cosine(kPositions * kDim / 2), sine(kPositions * kDim / 2);
    for (int64_t at = 0; at < cosine.count(); ++at) {
      cosine.get()[at] = std::cos(0.01f * static_cast<float>(at)), sine.get()[at] = std::sin(0.01f * static_cast<float>(at));
    }
    model.cosine = kept.keep(std::move(cosine)), model.sine = kept.keep(std::move(sine));
    model.layer = layers.data();
    model.final_norm = kept.keep(random_floats(kHidden, 1.0f));
    model.head = random_weight<Form>(kept, kVocabulary, kHidden, false);
    model.block_count = kBlocks;
  }
};

// A LoRA of one rank on every projection of the sites that `sites` has as bits.
template <class Form>
struct Adapter {
  Kept kept;
  std::vector<qc::AdapterSite> sites;
  int64_t low_elements = 0;

  Adapter(int rank, unsigned chosen, bool biased) {
    const int32_t padded = static_cast<int32_t>(qc::rounded_up(rank, Form::per_word));
    for (int at = 0; at < kLayers * qc::kSites; ++at) {
      qc::AdapterSite site{};
      if (chosen >> (at % qc::kSites) & 1u) fill(site, at % qc::kSites, rank, padded, biased);
      low_elements = std::max<int64_t>(low_elements, site.ranks);
      sites.push_back(site);
    }
  }

  void fill(qc::AdapterSite& site, int kind, int rank, int32_t padded, bool biased) {
    const int32_t query = kHeads * kDim, key = kKvHeads * kDim;
    const std::vector<int32_t> outs[] = {{query, key, key}, {kHidden}, {kInner, kInner}, {kHidden}};
    const int64_t in = kind == qc::kO ? query : kind == qc::kDown ? kInner : kHidden;
    const int64_t row = qc::row_elements<Form>(in);
    const int64_t parts = static_cast<int64_t>(outs[kind].size());
    using Element = typename Form::Element;
    auto* a = reinterpret_cast<Element*>(kept.room(parts * padded * row * static_cast<int64_t>(sizeof(Element))));
    site.a = a;
    for (const int32_t out : outs[kind]) {
      qc::AdapterPart& part = site.part[site.parts++];
      part.out_at = site.parts == 1 ? 0 : (&part)[-1].out_at + (&part)[-1].out;
      part.out = out, part.rank_at = site.ranks, part.rank_words = padded / Form::per_word;
      qc::pack_a<Form>(random_elements<Form>(in * rank).get(), in, rank, a + site.ranks * row);
      auto* b = reinterpret_cast<Element*>(kept.room(int64_t{padded} * out * static_cast<int64_t>(sizeof(Element))));
      qc::pack_b<Form>(random_elements<Form>(int64_t{rank} * out).get(), rank, out, b);
      part.b = b;
      if (biased) part.bias = kept.keep(random_floats(out));
      site.ranks += padded;
    }
  }
};

// One sequence: its tokens, its blocks, and how much of it is computed.
struct Row {
  std::vector<int32_t> tokens, blocks;
  int adapter;  // -1 is the base
  int32_t done = 0;
};

template <class Form>
std::vector<float> run(const Base<Form>& base, const std::vector<Adapter<Form>>& adapters, int threads, int& steps) {
  qc::Model model = base.model;
  Exact<char> room(qc_block_bytes(&model) * kBlocks);
  model.blocks = room.get();
  int32_t error = 0;
  void* engine = qc_engine_new(&model, threads, &error);
  if (engine == nullptr) std::exit(3);

  std::mt19937 own{11};
  std::vector<Row> rows;
  int32_t block = 0;
  for (int at = 0; at < 9; ++at) {  // sorted by adapter, as the engine's batch is: the base first
    Row row{{}, {}, at < 3 ? -1 : (at - 3) / 2};
    const int length = 3 + 5 * at;
    for (int token = 0; token < length; ++token) row.tokens.push_back(static_cast<int32_t>(own() % kVocabulary));
    for (int token = 0; token < length + 8; token += kBlockTokens) row.blocks.push_back(block++);
    rows.push_back(row);
  }
  std::vector<float> all;
  for (int number = 0; number < 14; ++number, ++steps) {
    std::vector<int32_t> tokens, table, samples;
    std::vector<qc::Chunk> chunks;
    std::vector<qc::StepSegment> segments;
    int64_t low = 0;
    int last = -1;
    for (Row& row : rows) {
      const int32_t left = static_cast<int32_t>(row.tokens.size()) - row.done;
      const int32_t take = std::min<int32_t>(left, 7 + number % 5);
      const auto at = static_cast<int32_t>(tokens.size());
      chunks.push_back({at, take, row.done, static_cast<int32_t>(table.size())});
      tokens.insert(tokens.end(), row.tokens.begin() + row.done, row.tokens.begin() + row.done + take);
      table.insert(table.end(), row.blocks.begin(), row.blocks.begin() + (row.done + take + kBlockTokens - 1) / kBlockTokens);
      if (row.adapter >= 0) {
        const auto& adapter = adapters[static_cast<size_t>(row.adapter)];
        if (row.adapter == last) {
          segments.back().stop = at + take;
        } else {
          segments.push_back({at, at + take, adapter.sites.data()});
          low = std::max(low, adapter.low_elements);
        }
      }
      last = row.adapter;
      row.done += take;
      if (row.done == static_cast<int32_t>(row.tokens.size())) samples.push_back(at + take - 1);
      // A row whose prompt is done decodes: its next token does not depend on what was sampled, as logits are compared.
      if (row.done == static_cast<int32_t>(row.tokens.size()) && row.tokens.size() % kBlockTokens != 7) {
        row.tokens.push_back(static_cast<int32_t>(own() % kVocabulary));
      } else if (row.done == static_cast<int32_t>(row.tokens.size())) {
        row.done -= 1;  // once more the same token at the same position
      }
    }
    const auto greedy = static_cast<int32_t>(samples.size() / 2);
    const int64_t drawn = static_cast<int64_t>(samples.size()) - greedy;
    Exact<int32_t> best(std::max<int64_t>(greedy, 1));
    Exact<float> logits(std::max<int64_t>(drawn * kVocabulary, 1));
    qc::Step step{};
    step.rows = static_cast<int32_t>(tokens.size()), step.chunks = static_cast<int32_t>(chunks.size());
    step.segments = static_cast<int32_t>(segments.size()), step.samples = static_cast<int32_t>(samples.size());
    step.greedy = greedy, step.tokens = tokens.data(), step.chunk = chunks.data(), step.blocks = table.data();
    step.segment = segments.data(), step.sample_rows = samples.data(), step.best = best.get(), step.logits = logits.get();
    step.low_elements = low;
    if (qc_step(engine, &step) != 0) std::exit(3);
    all.insert(all.end(), logits.get(), logits.get() + drawn * kVocabulary);
    all.insert(all.end(), best.get(), best.get() + greedy);
    // Long enough for the ranks to fall asleep: the next step has to wake them.
    if (number % 4 == 3) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  qc_engine_free(engine);
  return all;
}

template <class Form>
bool same(int threads, int& steps) {
  const Base<Form> base;
  std::vector<Adapter<Form>> adapters;
  adapters.emplace_back(4, 0b1111u, false);
  adapters.emplace_back(16, 0b0101u, true);
  adapters.emplace_back(5, 0b1010u, false);
  const std::vector<float> alone = run(base, adapters, 1, steps), together = run(base, adapters, threads, steps);
  for (const float value : alone) {
    if (!std::isfinite(value)) return false;
  }
  return alone.size() == together.size() &&
         std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)) == 0;
}

}  // namespace

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]);
  int steps = 0;
  const bool ok = same<qc::InF32>(threads, steps) && same<qc::InBf16>(threads, steps);
  std::printf("%s: %d steps, 1 and %d threads: %s\n", qc_level(), steps, threads, ok ? "same bits" : "DIFFERENT");
  return ok ? 0 : 1;
}
