#include "fathom/model/layers/causal_lm.h"

#include "fathom/base/core/error.h"

namespace fathom::layers {
namespace {

template <typename Forward>
tensor::Tensor commit_if_done(const TokenBatch& batch, const Forward& forward) {
  try {
    tensor::Tensor hidden = forward();
    for (const Segment& segment : batch.segments) {
      segment.kv->commit(segment.num_tokens);
    }
    return hidden;
  } catch (...) {
    for (const Segment& segment : batch.segments) {
      segment.kv->discard_uncommitted();
    }
    throw;
  }
}

}  // namespace

TokenBatch TokenBatch::single(std::span<const std::int32_t> tokens, kv::KvStore& kv) {
  const Index count = to_index(tokens.size());
  kv::KvStore* const cache = &kv;
  return of(tokens, {&count, 1}, {&cache, 1});
}

TokenBatch TokenBatch::of(std::span<const std::int32_t> tokens,
                          std::span<const Index> counts,
                          std::span<kv::KvStore* const> caches) {
  FATHOM_CHECK(counts.size() == caches.size());
  TokenBatch batch{.tokens = tokens, .positions = {}, .segments = {}};
  for (std::size_t idx = 0; idx < counts.size(); ++idx) {
    FATHOM_CHECK(counts[idx] > 0);
    const Index position = caches[idx]->num_tokens();
    batch.segments.push_back({.first_row = to_index(batch.positions.size()),
                              .num_tokens = counts[idx],
                              .position = position,
                              .kv = caches[idx]});
    for (Index token = 0; token < counts[idx]; ++token) {
      batch.positions.push_back(position + token);
    }
  }
  FATHOM_CHECK(batch.positions.size() == tokens.size());
  return batch;
}

tensor::Tensor run_step(const CausalLm& model, ops::Context& context, const TokenBatch& batch) {
  return commit_if_done(batch, [&] { return model.forward(context, batch); });
}

tensor::Tensor run_step(const DraftModule& draft,
                        ops::Context& context,
                        const TokenBatch& next_tokens,
                        const tensor::Tensor& hidden) {
  return commit_if_done(next_tokens, [&] { return draft.forward(context, next_tokens, hidden); });
}

}  // namespace fathom::layers
