#include "fathom/study/plan/flops.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/model/config/footprint.h"

namespace fathom::plan {
namespace {

using config::AttentionKind;
using config::LayerConfig;
using config::ModelConfig;

constexpr double kFlopPerProduct = 2;
constexpr double kForwardAndBackward = 3;

// What a token sees: as it is for one token, or on average over the tokens of a prompt.
struct Seen {
  double window = 0;
  double blocks = 0;         // compressed rows
  double chosen_blocks = 0;  // those that the indexer takes at most
  double tokens = 0;         // all up to itself
};

// Sum of min(t / ratio, limit) over the tokens t = 1 ... n, in whole blocks.
double sum_of_blocks(Index n, Index ratio, Index limit) {
  const Index full = std::min(n, ratio * limit - 1);  // up to here no limit bites
  const Index whole = (full + 1) / ratio;             // blocks whose every token is among them
  const Index rest = full + 1 - whole * ratio;
  const Index below = ratio * (whole * (whole - 1) / 2) + rest * whole;
  return static_cast<double>(below) + static_cast<double>(n - full) * static_cast<double>(limit);
}

Seen seen_by_one(const ModelConfig& config, const LayerConfig& layer, Index context_tokens) {
  Seen seen;
  seen.tokens = static_cast<double>(context_tokens);
  seen.window = static_cast<double>(std::min(config.window, context_tokens));
  if (layer.compress_ratio > 0) {
    const Index blocks = context_tokens / layer.compress_ratio;
    seen.blocks = static_cast<double>(blocks);
    seen.chosen_blocks = static_cast<double>(std::min(config.index_top_k, blocks));
  }
  return seen;
}

Seen seen_on_average(const ModelConfig& config, const LayerConfig& layer, Index prompt_tokens) {
  const auto n = static_cast<double>(prompt_tokens);
  Seen seen;
  seen.tokens = (n + 1) / 2;
  if (config.window > 0) {
    seen.window = sum_of_blocks(prompt_tokens, 1, config.window) / n;
  }
  if (layer.compress_ratio > 0) {
    seen.blocks = sum_of_blocks(prompt_tokens, layer.compress_ratio, prompt_tokens) / n;
    seen.chosen_blocks = sum_of_blocks(prompt_tokens, layer.compress_ratio, config.index_top_k) / n;
  }
  return seen;
}

// Scores and sums of one row: C products each, for every query head.
double row_flop(const ModelConfig& config) {
  return kFlopPerProduct * 2 * static_cast<double>(config.head_dim * config.num_heads);
}

void add_attention(const ModelConfig& config,
                   const LayerConfig& layer,
                   const Seen& seen,
                   TokenFlop& flop) {
  switch (layer.attention) {
    case AttentionKind::SlidingWindow:
      flop.window_attention += row_flop(config) * seen.window;
      return;
    case AttentionKind::CompressedSparse:
      flop.sparse_attention += row_flop(config) * (seen.window + seen.chosen_blocks);
      // A dot product per index head, and their weighted sum.
      flop.indexer += kFlopPerProduct * seen.blocks *
                      static_cast<double>(config.num_index_heads * (config.index_head_dim + 1));
      return;
    case AttentionKind::HeavilyCompressed:
      flop.heavy_attention += row_flop(config) * (seen.window + seen.blocks);
      return;
    case AttentionKind::Grouped:
      flop.full_attention += row_flop(config) * seen.tokens;
      return;
  }
}

template <typename SeenBy>
TokenFlop count(const ModelConfig& config, bool with_head, const SeenBy& seen_by) {
  const double head = kFlopPerProduct * static_cast<double>(config.vocab_size * config.hidden_size);
  TokenFlop flop;
  flop.linears =
      kFlopPerProduct * static_cast<double>(config::multiply_adds_per_token(config)) - head;
  flop.head = with_head ? head : 0;
  for (const LayerConfig& layer : config.layers) {
    add_attention(config, layer, seen_by(layer), flop);
    // Twice a layer: N streams into one, N into N, and the result into N.
    flop.stream_mixing += 2 * kFlopPerProduct * static_cast<double>(config.hidden_size) *
                          static_cast<double>(config.num_streams * (config.num_streams + 2));
  }
  return flop;
}

void check_tokens(const char* name, Index tokens) {
  constexpr Index kMost = 1'000'000'000;
  if (tokens < 1 || tokens > kMost) {
    fail(ErrorCode::InvalidArgument, name, ": found ", tokens, ", expected 1 to ", kMost,
         " tokens");
  }
}

}  // namespace

double rule_of_thumb_training_flop(double active_parameters, double tokens) {
  return 6 * active_parameters * tokens;
}

double TokenFlop::total() const {
  return linears + head + window_attention + sparse_attention + heavy_attention + full_attention +
         indexer + stream_mixing;
}

TokenFlop decode_flop(const ModelConfig& config, Index context_tokens) {
  check_tokens("context_tokens", context_tokens);
  return count(config, true, [&](const LayerConfig& layer) {
    return seen_by_one(config, layer, context_tokens);
  });
}

TokenFlop mean_prefill_flop(const ModelConfig& config, Index prompt_tokens, bool with_head) {
  check_tokens("prompt_tokens", prompt_tokens);
  return count(config, with_head, [&](const LayerConfig& layer) {
    return seen_on_average(config, layer, prompt_tokens);
  });
}

double training_flop_per_token(const ModelConfig& config, Index sequence_tokens) {
  return kForwardAndBackward * mean_prefill_flop(config, sequence_tokens, true).total();
}

}  // namespace fathom::plan
