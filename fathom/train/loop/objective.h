// What a run minimises. Pre-training, fine-tuning, preference tuning and distillation are
// objectives of one loop.
#pragma once

#include <string>
#include <vector>

#include "fathom/compute/autograd/parameter_gradients.h"
#include "fathom/compute/ops/context.h"
#include "fathom/train/data/batch.h"

namespace fathom::train {

// Sums over the targets of one or more batches; what a log line shows is a quotient of them.
struct LossSums {
  double loss = 0;               // weighted cross-entropy (or the objective's own loss), nats
  double weight = 0;             // what it is divided by
  double mtp_loss = 0;           // unweighted by its coefficient; 0 without an MTP block
  double distillation_loss = 0;  // the same, 0 without a teacher
  double balance_loss = 0;
  double indexer_loss = 0;
  std::vector<std::vector<double>> expert_tokens;  // [layers, then MTP blocks][E] slots

  void add(const LossSums& other);
};

class Objective {
 public:
  virtual ~Objective() = default;

  // The loss of a batch and, added into `gradients`, its gradient: of the loss divided by
  // `total_weight`, the weight of all targets of the optimiser step that this batch is a part of.
  virtual LossSums accumulate(ops::Context& context,
                              const data::Batch& batch,
                              double total_weight,
                              autograd::ParameterGradients& gradients) = 0;

  // The same loss without gradients, for validation.
  virtual LossSums evaluate(ops::Context& context, const data::Batch& batch) = 0;
};

}  // namespace fathom::train
