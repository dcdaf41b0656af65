#include "fathom/train/loop/distillation_objective.h"

#include <cmath>

#include "fathom/base/core/error.h"
#include "fathom/train/loop/language_pass.h"
#include "fathom/train/loop/weighted_losses.h"

namespace fathom::train {
namespace {

void check_options(const DistillationOptions& options, Index vocab_size) {
  check_options(options.language);
  if (!(options.weight >= 0 && options.weight <= 1)) {
    fail(ErrorCode::InvalidArgument, "distillation weight: ", options.weight, ", expected 0 to 1");
  }
  if (options.top_k < 1 || options.top_k > vocab_size) {
    fail(ErrorCode::InvalidArgument, "distillation top_k: ", options.top_k, ", expected 1 to ",
         vocab_size, " (the vocabulary)");
  }
  if (!(options.temperature > 0) || !std::isfinite(options.temperature)) {
    fail(ErrorCode::InvalidArgument, "distillation temperature: ", options.temperature,
         ", expected a positive number");
  }
}

// What the teacher says about the rows that count; in the context's arena.
ops::TopTokens ask(const layers::CausalLm& teacher,
                   ops::Context& context,
                   const data::Batch& batch,
                   const DistillationOptions& options) {
  const ops::TopTokens top =
      ops::allocate_top_tokens(context, batch.num_tokens(), options.top_k, options.temperature);
  const tensor::Arena::Scope scope(context.arena);
  const PieceBatch pieces(context, teacher.cache_layout(), batch.tokens, batch.piece_tokens);
  const tensor::Tensor hidden = teacher.forward(context, pieces.step());
  for (const RowRun& run : weighted_runs(batch.loss_weights)) {
    const layers::HeadInput input = teacher.head_input(context, hidden.slice(run.first, run.count));
    ops::head_top_log_probs(context, input.head, input.x, top.slice(run.first, run.count));
  }
  return top;
}

}  // namespace

DistillationObjective::DistillationObjective(const layers::CausalLm& student,
                                             const layers::CausalLm& teacher,
                                             const DistillationOptions& options)
    : student_(student), teacher_(teacher), options_(options) {
  if (teacher.config().vocab_size != student.config().vocab_size) {
    fail(ErrorCode::InvalidArgument, "teacher: a vocabulary of ", teacher.config().vocab_size,
         " tokens, expected ", student.config().vocab_size, " (the student's)");
  }
  check_options(options, student.config().vocab_size);
}

void DistillationObjective::set_mtp_coefficient(double coefficient) {
  LanguageOptions language = options_.language;
  language.mtp_coefficient = coefficient;
  check_options(language);
  options_.language = language;
}

LossSums DistillationObjective::accumulate(ops::Context& context,
                                           const data::Batch& batch,
                                           double total_weight,
                                           autograd::ParameterGradients& gradients) {
  check_batch(batch, student_.config());
  check_batch(batch, teacher_.config());
  check_total_weight(total_weight);
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  const ops::TopTokens top = ask(teacher_, context, batch, options_);
  LanguagePass pass(student_, options_.language, context, batch, {top, options_.weight});
  return pass.run_with_gradients(total_weight, gradients);
}

LossSums DistillationObjective::evaluate(ops::Context& context, const data::Batch& batch) {
  check_batch(batch, student_.config());
  check_batch(batch, teacher_.config());
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  const ops::TopTokens top = ask(teacher_, context, batch, options_);
  LanguagePass pass(student_, options_.language, context, batch, {top, options_.weight});
  return pass.run();
}

}  // namespace fathom::train
