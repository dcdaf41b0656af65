#include "fathom/train/loop/piece_batch.h"

#include <cmath>
#include <numeric>

#include "fathom/base/core/error.h"

namespace fathom::train {
namespace {

void check_length(const char* what, std::size_t found, Index expected) {
  if (to_index(found) != expected) {
    fail(ErrorCode::InvalidArgument, "batch: ", found, " ", what, ", expected ", expected,
         " (one for each token)");
  }
}

void check_pieces(const data::Batch& batch, Index max_context) {
  Index sum = 0;
  for (std::size_t piece = 0; piece < batch.piece_tokens.size(); ++piece) {
    const Index count = batch.piece_tokens[piece];
    if (count < 1 || count > max_context) {
      fail(ErrorCode::InvalidArgument, "batch: piece ", piece, ": ", count,
           " tokens, expected 1 to ", max_context, " (the model's context)");
    }
    sum += count;
  }
  if (sum != batch.num_tokens() || sum == 0) {
    fail(ErrorCode::InvalidArgument, "batch: pieces of ", sum, " tokens, expected ",
         batch.num_tokens(), " (at least 1)");
  }
}

}  // namespace

void check_batch(const data::Batch& batch, const config::ModelConfig& config) {
  check_length("targets", batch.targets.size(), batch.num_tokens());
  check_length("loss weights", batch.loss_weights.size(), batch.num_tokens());
  check_pieces(batch, config.max_context);
  const auto is_known = [&](std::int32_t id) { return id >= 0 && id < config.vocab_size; };
  for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
    const auto refuse = [&](const char* what, const auto& found, const char* expected, Index most) {
      fail(ErrorCode::InvalidArgument, "batch: row ", row, ": ", what, " ", found, ", expected ",
           expected, most);
    };
    const float weight = batch.loss_weights[row];
    if (!is_known(batch.tokens[row])) {
      refuse("token id", batch.tokens[row], "0 to ", config.vocab_size - 1);
    }
    if (!(weight >= 0) || !std::isfinite(weight)) {
      refuse("loss weight", weight, "a number of at least ", 0);
    }
    if (weight > 0 && !is_known(batch.targets[row])) {
      refuse("target", batch.targets[row], "0 to ", config.vocab_size - 1);
    }
  }
}

PieceBatch::PieceBatch(ops::Context& context,
                       const std::vector<config::CacheStream>& layout,
                       std::span<const std::int32_t> tokens,
                       std::span<const Index> piece_tokens)
    : caches_(piece_tokens.size(), kv::WholeSequenceKv(layout, context.real)) {
  std::vector<kv::KvStore*> stores;
  for (kv::WholeSequenceKv& cache : caches_) {
    stores.push_back(&cache);
  }
  step_ = layers::TokenBatch::of(context.arena, tokens, piece_tokens, stores);
}

}  // namespace fathom::train
