// What an adapter (LoRA) puts beside a layer's weights, as layers use it.
//
// A layer that has none pays one null check; its products are those of the weight alone, the same
// kernels and the same bits.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fathom/compute/ops/low_rank.h"
#include "fathom/model/weights/store.h"

namespace fathom::layers {

// Beside one weight.
class LowRank {
 public:
  LowRank(const weights::Store& store, const config::WeightKey& key)
      : low_rank_(store.low_rank(key)) {}

  // y += scale B (A x), where the products of the weight with x [T, K] were written to y. x is what
  // the weight multiplies before it is rounded to FP8 or int8 blocks.
  void add(ops::Context& context, const tensor::Tensor& x, const ops::LowRankTarget& target) const {
    if (low_rank_) [[unlikely]] {
      ops::add_low_rank(context, view(), x, target);
    }
  }
  // The same beside a grouped product: x [T, G * K].
  void add_grouped(ops::Context& context,
                   const tensor::Tensor& x,
                   Index num_groups,
                   const ops::LowRankTarget& target) const {
    if (low_rank_) [[unlikely]] {
      ops::add_low_rank_grouped(context, view(), x, num_groups, target);
    }
  }

 private:
  ops::LowRankView view() const { return {low_rank_->a, low_rank_->b, low_rank_->scale}; }

  std::optional<weights::LowRank> low_rank_;
};

// Beside the matrices of a layer's routed experts.
class ExpertLowRanks {
 public:
  ExpertLowRanks() = default;  // nothing
  // Throws Unsupported where experts of one role differ in rank or scale. An expert without a
  // target is left as it is.
  ExpertLowRanks(const weights::Store& store, const config::WeightKey& key, Index num_experts);
  ExpertLowRanks(ExpertLowRanks&&) = default;
  ExpertLowRanks& operator=(ExpertLowRanks&&) = default;

  void add(ops::Context& context,
           const ops::ExpertRows& rows,
           const ops::LowRankTarget& target) const {
    if (!a_.empty()) [[unlikely]] {
      ops::add_low_rank_experts(context, {a_, b_, scale_}, rows, target);
    }
  }

 private:
  std::vector<numeric::WeightView> a_;  // empty without an adapter
  std::vector<numeric::WeightView> b_;
  double scale_ = 0;
  std::vector<float> zeros_;  // of experts without a target
};

}  // namespace fathom::layers
