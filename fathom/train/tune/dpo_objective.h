// Direct preference optimisation (DPO; Rafailov et al. 2023): of two replies to one prompt, make
// the chosen one more probable than the rejected one, compared with a reference model.
//
// With log p(y) the sum of the log-probabilities of a reply's tokens:
//
//   margin = beta [ (log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected)) ]
//   L = 1/W sum over pairs of w log(1 + exp(-margin))
//
// A batch holds pairs: pieces 2 i are chosen, pieces 2 i + 1 rejected. Targets with a weight are
// the replies'; the weights of a pair sum to w, what the pair counts for.
#pragma once

#include <vector>

#include "fathom/compute/autograd/tape.h"
#include "fathom/model/layers/causal_lm.h"
#include "fathom/train/loop/objective.h"

namespace fathom::tune {

struct DpoOptions {
  double beta = 0.1;
  autograd::Recomputation recomputation = autograd::Recomputation::Segments;
};

class DpoObjective final : public train::Objective {
 public:
  // Both models have to stay; they compute on the same context. Throws InvalidArgument for a beta
  // that is not above 0.
  DpoObjective(const layers::CausalLm& policy,
               const layers::CausalLm& reference,
               const DpoOptions& options);

  // Both throw InvalidArgument for a batch that holds no pairs, and what check_batch throws.
  train::LossSums accumulate(ops::Context& context,
                             const data::Batch& batch,
                             double total_weight,
                             autograd::ParameterGradients& gradients) override;
  train::LossSums evaluate(ops::Context& context, const data::Batch& batch) override;

  // The margin of every pair of a batch.
  std::vector<double> margins(ops::Context& context, const data::Batch& batch);

 private:
  std::vector<double> margins_of(const std::vector<double>& policy,
                                 const std::vector<double>& reference) const;

  const layers::CausalLm& policy_;
  const layers::CausalLm& reference_;
  DpoOptions options_;
};

}  // namespace fathom::tune
