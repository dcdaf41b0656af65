#include "fathom/model/layers/causal_lm.h"

#include <numeric>

#include "fathom/base/core/error.h"
#include "fathom/compute/ops/cross_entropy.h"

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

HeadInput CausalLm::head_input(ops::Context& /*context*/, const tensor::Tensor& /*hidden*/) const {
  fail(ErrorCode::Unsupported, "family ", config::to_string(config().family),
       " computes no losses, expected one that can be trained");
}

tensor::Tensor CausalLm::token_losses(ops::Context& context,
                                      const tensor::Tensor& hidden,
                                      std::span<const std::int32_t> targets) const {
  const HeadInput input = head_input(context, hidden);
  return ops::head_cross_entropy(context, input.head, input.x, targets);
}

tensor::Tensor DraftModule::token_losses(ops::Context& context,
                                         const tensor::Tensor& hidden,
                                         std::span<const std::int32_t> targets) const {
  const HeadInput input = head_input(context, hidden);
  return ops::head_cross_entropy(context, input.head, input.x, targets);
}

TokenBatch TokenBatch::single(tensor::Arena& arena,
                              std::span<const std::int32_t> tokens,
                              kv::KvStore& kv) {
  const Index count = to_index(tokens.size());
  kv::KvStore* const cache = &kv;
  return of(arena, tokens, {&count, 1}, {&cache, 1});
}

TokenBatch TokenBatch::of(tensor::Arena& arena,
                          std::span<const std::int32_t> tokens,
                          std::span<const Index> counts,
                          std::span<kv::KvStore* const> caches) {
  FATHOM_CHECK(counts.size() == caches.size());
  const Index num_tokens = to_index(tokens.size());
  const auto positions = arena.allocate_array<Index>(num_tokens);
  const auto segments = arena.allocate_array<Segment>(to_index(counts.size()));
  Index row = 0;
  for (std::size_t idx = 0; idx < counts.size(); ++idx) {
    const Index count = counts[idx];
    FATHOM_CHECK(count > 0 && count <= num_tokens - row);
    const Index position = caches[idx]->num_tokens();
    segments[idx] = {
        .first_row = row, .num_tokens = count, .position = position, .kv = caches[idx]};
    std::iota(positions.begin() + row, positions.begin() + row + count, position);
    row += count;
  }
  FATHOM_CHECK(row == num_tokens);
  return {.tokens = tokens, .positions = positions, .segments = segments};
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
