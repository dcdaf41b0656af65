#include "fathom/study/plan/model_work.h"

#include <algorithm>
#include <cmath>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::plan {
namespace {

using config::AttentionKind;
using config::Block;
using config::RouterKind;
using config::WeightRole;
using config::WeightSpec;

constexpr std::array<std::string_view, kNumWorks> kNames = {
    "packed_bytes",      "plain_bytes",        "coded_bytes",
    "packed_few_ops",    "packed_many_ops",    "wide_few_ops",
    "wide_many_ops",     "token_shared_ops",   "prompt_shared_ops",
    "token_grouped_ops", "prompt_grouped_ops", "index_ops",
    "cache_bytes",       "exchanged_numbers",  "routed_tokens",
    "sequence_layers",   "shared_starts",      "starts"};

bool is_head(const config::ModelConfig& config, const WeightSpec& spec) {
  return spec.key.role == WeightRole::Head ||
         (config.is_head_tied && spec.key.role == WeightRole::Embedding);
}

double visible_blocks(Index position, Index ratio) {
  const Index num_blocks = (position + 1) / ratio;
  return static_cast<double>(num_blocks);
}

// The indexer scores blocks only where there are more than it may choose.
double scored_blocks(const config::ModelConfig& config, Index position, Index ratio) {
  const double blocks = visible_blocks(position, ratio);
  return blocks > static_cast<double>(config.index_top_k) ? blocks : 0;
}

// Rows that a token at `position` attends to in a layer of this kind.
double attended_rows(const config::ModelConfig& config,
                     AttentionKind kind,
                     Index ratio,
                     Index position) {
  const auto window = static_cast<double>(std::min(position + 1, config.window));
  switch (kind) {
    case AttentionKind::SlidingWindow:
      return window;
    case AttentionKind::CompressedSparse:
      return window +
             std::min(visible_blocks(position, ratio), static_cast<double>(config.index_top_k));
    case AttentionKind::HeavilyCompressed:
      return window + visible_blocks(position, ratio);
    case AttentionKind::Grouped:
      return static_cast<double>(position + 1);
  }
  return 0;
}

// Of one cache row: key and value at once, or a key and a value of every head.
double row_bytes(const config::ModelConfig& config, AttentionKind kind) {
  const Index bytes =
      kind == AttentionKind::Grouped
          ? 2 * config::kFastCache.row_bytes(config::StreamKind::Key,
                                             config.num_key_value_heads * config.head_dim)
          : config::kFastCache.row_bytes(config::StreamKind::Compressed, config.head_dim);
  return static_cast<double>(bytes);
}

Work attention_work(AttentionKind kind, const Step& step) {
  const bool is_prompt = step.tokens_per_sequence > 1;
  if (kind == AttentionKind::Grouped) {
    return is_prompt ? Work::PromptGroupedOps : Work::TokenGroupedOps;
  }
  return is_prompt ? Work::PromptSharedOps : Work::TokenSharedOps;
}

void add(Amounts& sum, const Amounts& other) {
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    sum[idx] += other[idx];
  }
}

// What products of `tokens` rows with weights of a class take; `distinct` experts are read.
struct Products {
  double tokens;
  double logits;
  double chosen;
  double distinct;
};
double bytes_read(const WeightSums& sums, const Products& products) {
  return sums.dense_bytes + (products.logits > 0 ? sums.head_bytes : 0) +
         sums.expert_bytes * products.distinct;
}

// Tokens of one matrix that kernels still read it for, as they do for a single one.
constexpr double kFewTokens = 8;

WeightClass class_of(numeric::WeightFormat format) {
  switch (format) {
    case numeric::WeightFormat::F32:
    case numeric::WeightFormat::F16:
    case numeric::WeightFormat::BF16:
      return WeightClass::Plain;
    default:
      return numeric::has_int8_blocks(format) ? WeightClass::Packed : WeightClass::Coded;
  }
}

void add_products(const WeightsByClass& weights, const Products& products, Amounts& amounts) {
  constexpr std::array<Work, kNumWeightClasses> kBytes = {Work::PackedBytes, Work::PlainBytes,
                                                          Work::CodedBytes};
  const double expert_tokens =
      products.distinct > 0 ? products.tokens * products.chosen / products.distinct : 0;
  for (std::size_t idx = 0; idx < kNumWeightClasses; ++idx) {
    const WeightSums& sums = weights[idx];
    const bool is_packed = static_cast<WeightClass>(idx) == WeightClass::Packed;
    const auto add_operations = [&](double tokens_of_matrix, double num_products) {
      const bool is_few = tokens_of_matrix <= kFewTokens;
      const Work work = is_packed ? (is_few ? Work::PackedFewOps : Work::PackedManyOps)
                                  : (is_few ? Work::WideFewOps : Work::WideManyOps);
      at(amounts, work) += 2 * num_products;
    };
    at(amounts, kBytes[idx]) += bytes_read(sums, products);
    add_operations(products.tokens, products.tokens * sums.dense_products);
    add_operations(products.logits, products.logits * sums.head_products);
    add_operations(expert_tokens, products.tokens * products.chosen * sums.expert_products);
  }
}

}  // namespace

std::string_view to_string(Work work) {
  return kNames[static_cast<std::size_t>(work)];
}

std::optional<Work> find_work(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  return found == kNames.end() ? std::nullopt
                               : std::optional(static_cast<Work>(found - kNames.begin()));
}

Storage storage_by_plan(const config::StoragePlan& plan) {
  return {.bytes_of = [plan](const WeightSpec& spec) { return config::stored_bytes(spec, plan); },
          .format_of = [plan](const WeightSpec& spec) { return config::format_in(plan, spec); }};
}

double expected_experts(Index num_experts, Index num_chosen, double num_tokens) {
  if (num_experts == 0) {
    return 0;
  }
  const auto count = static_cast<double>(num_experts);
  return count * (1 - std::pow(1 - static_cast<double>(num_chosen) / count, num_tokens));
}

ModelWork::ModelWork(const config::ModelConfig& config, const Storage& storage) : config_(config) {
  for (const WeightSpec& spec : config::weight_table(config_)) {
    add_weight(spec, storage);
  }
  for (const config::LayerConfig& layer : config_.layers) {
    num_routed_layers_ += layer.router == RouterKind::None ? 0 : 1;
    const auto same = std::find_if(kinds_.begin(), kinds_.end(), [&](const LayerKind& kind) {
      return kind.attention == layer.attention && kind.compress_ratio == layer.compress_ratio;
    });
    if (same == kinds_.end()) {
      kinds_.push_back({layer.attention, layer.compress_ratio, 1});
    } else {
      ++same->count;
    }
  }
}

void ModelWork::add_weight(const WeightSpec& spec, const Storage& storage) {
  if (config::is_looked_up(config_, spec)) {
    return;  // a row per token: nothing beside the matrices
  }
  const auto bytes = static_cast<double>(storage.bytes_of(spec));
  const bool is_draft = spec.key.block == Block::Mtp;
  const auto class_idx = static_cast<std::size_t>(class_of(storage.format_of(spec)));
  WeightSums& sums = (is_draft ? draft_weights_ : weights_)[class_idx];
  const double products =
      spec.shape.size() > 1 ? static_cast<double>(spec.num_elements()) : 0;  // vectors: none
  if (spec.num_experts > 0) {
    sums.expert_bytes += bytes / static_cast<double>(spec.num_experts);
    sums.expert_products += products / static_cast<double>(spec.num_experts);
  } else if (is_head(config_, spec)) {
    sums.head_bytes += bytes;
    sums.head_products += products;
  } else {
    sums.dense_bytes += bytes;
    sums.dense_products += products;
  }
}

double ModelWork::numbers_per_token() const {
  const auto of = [](Index number) { return static_cast<double>(number); };
  const double heads = of(config_.num_heads * config_.head_dim);
  // Streams are read for the norm, for the collapse and for the merge, and written by it, in each
  // of two sub-blocks; a model without hyper-connections has one stream.
  const double streams = of(std::max<Index>(1, config_.num_streams)) * of(config_.hidden_size);
  const double chosen = of(config_.num_experts_per_token) + of(config_.num_shared_experts);
  const double hidden =
      config_.num_experts > 0 ? chosen * of(config_.expert_hidden) : of(config_.mlp_hidden);
  const double outputs = (1 + chosen) * of(config_.hidden_size);
  return of(config_.num_layers()) *
         (8 * streams + 6 * of(config_.hidden_size) + 6 * heads + 4 * hidden + 2 * outputs);
}

double ModelWork::starts_per_step() const {
  // Ops of a layer as model/layers and the families call them.
  constexpr double kGrouped = 8;     // norm, three products, two rotations, attention, output
  constexpr double kWindow = 15;     // two low-rank products more, norms of heads and rows
  constexpr double kCompressor = 6;  // two products, bias, and now and then a closed block
  constexpr double kIndexer = 12;    // a compressor, queries, weights, choice
  constexpr double kMlp = 6;         // norm, three products, gate, residual
  constexpr double kExperts = 18;    // norm, router, sorting, three products twice, sums
  constexpr double kStreams = 5;  // mixing weights, collapse and merge, of each of two sub-blocks
  double starts = 0;
  for (const LayerKind& kind : kinds_) {
    double of_layer = kind.attention == AttentionKind::Grouped ? kGrouped : kWindow;
    of_layer += kind.compress_ratio > 0 ? kCompressor : 0;
    of_layer += kind.attention == AttentionKind::CompressedSparse ? kIndexer : 0;
    of_layer += config_.num_streams > 0 ? 2 * kStreams : 0;
    starts += static_cast<double>(kind.count) * of_layer;
  }
  const auto routed = static_cast<double>(num_routed_layers_);
  const double plain = static_cast<double>(config_.num_layers()) - routed;
  return starts + routed * kExperts + plain * kMlp;
}

void ModelWork::add_attention(const Step& step, Amounts& amounts) const {
  const auto sequences = static_cast<double>(step.num_sequences);
  // Two positions stand for all: what a token sees grows evenly within a step, but for a corner.
  const Index middle = step.context + (step.tokens_per_sequence - 1) / 2;
  const double tokens = sequences * static_cast<double>(step.tokens_per_sequence);
  const auto heads = static_cast<double>(config_.num_heads);
  const auto dim = static_cast<double>(config_.head_dim);
  for (const LayerKind& kind : kinds_) {
    const auto layers = static_cast<double>(kind.count);
    const double rows = attended_rows(config_, kind.attention, kind.compress_ratio, middle);
    at(amounts, attention_work(kind.attention, step)) += layers * tokens * 4 * heads * dim * rows;
    if (kind.attention == AttentionKind::CompressedSparse) {
      const double per_block = 2 * static_cast<double>(config_.num_index_heads) *
                               (static_cast<double>(config_.index_head_dim) + 1);
      at(amounts, Work::IndexOps) +=
          layers * tokens * scored_blocks(config_, middle, kind.compress_ratio) * per_block;
    }
  }
  // What sequences have in common comes from memory once.
  const double common = step.shared_context > 0 ? cache_bytes(step.shared_context - 1, 1) : 0;
  const double of_each = cache_bytes(step.context, step.tokens_per_sequence);
  at(amounts, Work::CacheBytes) +=
      sequences * of_each - (sequences - 1) * std::min(common, of_each);
}

double ModelWork::cache_bytes(Index context, Index num_tokens) const {
  const Index last = context + num_tokens - 1;
  double bytes = 0;
  for (const LayerKind& kind : kinds_) {
    const double rows = attended_rows(config_, kind.attention, kind.compress_ratio, last) +
                        static_cast<double>(std::min(num_tokens - 1, context));
    double of_layer = rows * row_bytes(config_, kind.attention);
    if (kind.attention == AttentionKind::CompressedSparse) {
      of_layer += scored_blocks(config_, last, kind.compress_ratio) *
                  static_cast<double>(config::kFastCache.row_bytes(config::StreamKind::IndexKey,
                                                                   config_.index_head_dim));
    }
    bytes += static_cast<double>(kind.count) * of_layer;
  }
  return bytes;
}

Amounts ModelWork::of(const Step& step) const {
  const auto sequences = static_cast<double>(step.num_sequences);
  const double tokens = sequences * static_cast<double>(step.tokens_per_sequence);
  Amounts amounts{};
  add_products(
      weights_,
      {.tokens = tokens,
       .logits = sequences * static_cast<double>(step.logits_per_sequence),
       .chosen = static_cast<double>(config_.num_experts_per_token),
       .distinct = expected_experts(config_.num_experts, config_.num_experts_per_token, tokens)},
      amounts);
  add_attention(step, amounts);
  const auto layers = static_cast<double>(config_.num_layers());
  at(amounts, Work::ExchangedNumbers) = tokens * numbers_per_token();
  at(amounts, Work::RoutedTokens) = tokens * static_cast<double>(num_routed_layers_);
  at(amounts, Work::SequenceLayers) = sequences * layers;
  at(amounts, Work::Starts) = starts_per_step();
  at(amounts, Work::SharedStarts) = tokens > 1 ? at(amounts, Work::Starts) : 0;
  return amounts;
}

Amounts ModelWork::of_prompt(Index num_tokens, Index context, Index step_tokens) const {
  FATHOM_CHECK(num_tokens > 0 && step_tokens > 0);
  Amounts sum{};
  for (Index done = 0; done < num_tokens; done += step_tokens) {
    const Index count = std::min(step_tokens, num_tokens - done);
    add(sum, of({.num_sequences = 1,
                 .tokens_per_sequence = count,
                 .context = context + done,
                 .logits_per_sequence = done + count == num_tokens ? 1 : 0}));
  }
  return sum;
}

double ModelWork::weight_bytes() const {
  const auto experts = static_cast<double>(config_.num_experts);
  double bytes = 0;
  for (const WeightSums& sums : weights_) {
    bytes += sums.dense_bytes + sums.head_bytes + experts * sums.expert_bytes;
  }
  return bytes;
}

double ModelWork::cache_bytes_read(Index context) const {
  return cache_bytes(context, 1);
}

Amounts ModelWork::of_draft(Index num_sequences) const {
  Amounts amounts{};
  if (config_.mtp_layers.empty()) {
    return amounts;
  }
  const auto tokens = static_cast<double>(num_sequences);
  Products products{
      .tokens = tokens,
      .logits = 0,
      .chosen = static_cast<double>(config_.num_experts_per_token),
      .distinct = expected_experts(config_.num_experts, config_.num_experts_per_token, tokens)};
  add_products(draft_weights_, products, amounts);
  // The block has no head of its own.
  WeightsByClass heads{};
  for (std::size_t idx = 0; idx < kNumWeightClasses; ++idx) {
    heads[idx].head_bytes = weights_[idx].head_bytes;
    heads[idx].head_products = weights_[idx].head_products;
  }
  products = {.tokens = 0, .logits = tokens, .chosen = 0, .distinct = 0};
  add_products(heads, products, amounts);
  at(amounts, Work::ExchangedNumbers) =
      tokens * numbers_per_token() / static_cast<double>(config_.num_layers());
  at(amounts, Work::RoutedTokens) = tokens;
  at(amounts, Work::SequenceLayers) = tokens;
  at(amounts, Work::Starts) = starts_per_step() / static_cast<double>(config_.num_layers());
  at(amounts, Work::SharedStarts) = tokens > 1 ? at(amounts, Work::Starts) : 0;
  return amounts;
}

}  // namespace fathom::plan
