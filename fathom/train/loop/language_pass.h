// One batch on its way through a model that learns language, and back.
#pragma once

#include <optional>
#include <vector>

#include "fathom/compute/ops/distillation.h"
#include "fathom/compute/ops/training_terms.h"
#include "fathom/train/loop/language_objective.h"
#include "fathom/train/loop/piece_batch.h"

namespace fathom::train {

// Whether any target of the batch counts.
bool has_weight(const data::Batch& batch);

// Throws InvalidArgument unless it is a positive number.
void check_total_weight(double total_weight);

// What a teacher says about the batch's rows (those of weighted_runs()), and the part of a token's
// loss that it makes up; the target makes up the others.
struct TeacherTerm {
  ops::TopTokens top;
  double weight = 0;
};

class LanguagePass {
 public:
  // What the MTP block reads and predicts, row by row beside the trunk's.
  struct DraftRows {
    std::vector<std::int32_t> tokens;   // that follow
    std::vector<std::int32_t> targets;  // that follow those
    std::vector<float> weights;         // 0 in the last row of a piece
  };

  // The batch was checked. Everything has to stay while the pass lives; it keeps what it needs in
  // the context's arena.
  LanguagePass(const layers::CausalLm& lm,
               const LanguageOptions& options,
               ops::Context& context,
               const data::Batch& batch,
               const TeacherTerm& teacher = {});

  // Once: without gradients, or with those of the loss divided by total_weight.
  LossSums run();
  LossSums run_with_gradients(double total_weight, autograd::ParameterGradients& gradients);
  // What gradients of step memory took on the way back.
  Index gradient_bytes() const { return gradient_bytes_; }

 private:
  LossSums run(autograd::Tape* tape, double total_weight);
  double token_loss(const tensor::Tensor& hidden, ops::Gradients* gradients, double d_sum) const;
  double teacher_loss(const tensor::Tensor& hidden, ops::Gradients* gradients, double d_sum) const;
  double draft_loss(const tensor::Tensor& hidden, ops::Gradients* gradients, double d_sum) const;
  void add_terms(LossSums& sums) const;

  const layers::CausalLm& lm_;
  const LanguageOptions& options_;
  TeacherTerm teacher_;
  ops::Context& context_;
  const data::Batch& batch_;
  ops::TrainingTerms terms_;
  std::vector<std::int32_t> targets_;
  PieceBatch main_;
  DraftRows draft_rows_;
  std::optional<PieceBatch> draft_;
  Index gradient_bytes_ = 0;
};

}  // namespace fathom::train
