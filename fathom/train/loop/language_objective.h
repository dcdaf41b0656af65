// The loss of pre-training and fine-tuning: every token's cross-entropy, and beside it what the
// multi-token prediction block and the routers lose.
//
// Architecture specification 6.3. With w the weights of the targets, w(p) their sum in piece p, and
// W that of the whole optimiser step:
//
//   L = 1/W [ sum_t w[t] ce[t] + mtp_coefficient sum_t w[t + 1] mtp[t]
//             + balance_coefficient sum_p w(p) sum_layers balance[p, layer]
//             + indexer_coefficient sum_p w(p) sum_layers indexer[p, layer] ]
//
// mtp[t] is what the MTP block loses when it predicts the target of row t + 1 from the trunk's row
// t and token t + 1, all in one piece: the last row of a piece has no such loss (V3's form, depth
// 1). balance is ops/balance_loss.h's, of layers that route by score, the MTP block's included.
// indexer is the mean over the piece of ops/indexer_loss.h's: it reaches the indexers' own
// parameters and nothing else, and nothing else reaches them.
#pragma once

#include "fathom/compute/autograd/tape.h"
#include "fathom/model/layers/causal_lm.h"
#include "fathom/train/loop/objective.h"

namespace fathom::train {

struct LanguageOptions {
  // V4 trains with 0.3, and 0.1 from the start of the learning rate's decay. 0, or a model without
  // the block: it is not computed.
  double mtp_coefficient = 0.3;
  double balance_coefficient = 1e-4;
  double indexer_coefficient = 1;  // 0: indexers learn nothing
  // Indexers learn from attention over every visible block (V3.2's warm-up, in which the trainer
  // freezes all else), not from that over the blocks they chose.
  bool indexer_warm_up = false;
  autograd::Recomputation recomputation = autograd::Recomputation::Segments;
};

// Throws InvalidArgument naming an option that is negative or no number.
void check_options(const LanguageOptions& options);

class LanguageObjective final : public Objective {
 public:
  // The model has to stay. Throws what check_options throws.
  LanguageObjective(const layers::CausalLm& lm, const LanguageOptions& options);

  void set_mtp_coefficient(double coefficient);

  // Both throw what check_batch throws, and Unsupported for a family or numerics without training;
  // accumulate, InvalidArgument unless total_weight is positive. A batch without any weight is not
  // computed.
  LossSums accumulate(ops::Context& context,
                      const data::Batch& batch,
                      double total_weight,
                      autograd::ParameterGradients& gradients) override;
  LossSums evaluate(ops::Context& context, const data::Batch& batch) override;

 private:
  const layers::CausalLm& lm_;
  LanguageOptions options_;
};

}  // namespace fathom::train
