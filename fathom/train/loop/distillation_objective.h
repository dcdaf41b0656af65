// Learning from a teacher: what it finds likely, beside the tokens that came.
//
//   L = 1/W [ sum_t w[t] ((1 - weight) ce[t] + weight kl[t]) + the other losses ]
//
// kl is ops/distillation.h's, with the teacher's top_k likeliest tokens of every row; ce and the
// other losses are LanguageObjective's. The teacher is computed by its own layers for the same
// tokens, in the same numerics, and is not changed.
#pragma once

#include "fathom/train/loop/language_objective.h"

namespace fathom::train {

struct DistillationOptions {
  LanguageOptions language = {};
  double weight = 0.5;  // 0 to 1
  Index top_k = 64;     // at most the vocabulary
  double temperature = 1;
};

class DistillationObjective final : public Objective {
 public:
  // Both models have to stay. Throws InvalidArgument naming an option out of its range, or for
  // vocabularies of different sizes.
  DistillationObjective(const layers::CausalLm& student,
                        const layers::CausalLm& teacher,
                        const DistillationOptions& options);

  void set_mtp_coefficient(double coefficient);

  // As LanguageObjective's; pieces have to fit the teacher's context too.
  LossSums accumulate(ops::Context& context,
                      const data::Batch& batch,
                      double total_weight,
                      autograd::ParameterGradients& gradients) override;
  LossSums evaluate(ops::Context& context, const data::Batch& batch) override;

 private:
  const layers::CausalLm& student_;
  const layers::CausalLm& teacher_;
  DistillationOptions options_;
};

}  // namespace fathom::train
