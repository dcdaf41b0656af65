#include "fathom/train/loop/language_objective.h"

#include <algorithm>
#include <cmath>

#include "fathom/base/core/error.h"
#include "fathom/train/loop/language_pass.h"

namespace fathom::train {
namespace {

void check_coefficient(const char* name, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    fail(ErrorCode::InvalidArgument, name, ": ", value, ", expected a number of at least 0");
  }
}

}  // namespace

void check_options(const LanguageOptions& options) {
  check_coefficient("mtp_coefficient", options.mtp_coefficient);
  check_coefficient("balance_coefficient", options.balance_coefficient);
  check_coefficient("indexer_coefficient", options.indexer_coefficient);
}

LanguageObjective::LanguageObjective(const layers::CausalLm& lm, const LanguageOptions& options)
    : lm_(lm), options_(options) {
  check_options(options);
}

void LanguageObjective::set_mtp_coefficient(double coefficient) {
  check_coefficient("mtp_coefficient", coefficient);
  options_.mtp_coefficient = coefficient;
}

LossSums LanguageObjective::accumulate(ops::Context& context,
                                       const data::Batch& batch,
                                       double total_weight,
                                       autograd::ParameterGradients& gradients) {
  check_batch(batch, lm_.config());
  check_total_weight(total_weight);
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  LanguagePass pass(lm_, options_, context, batch);
  return pass.run_with_gradients(total_weight, gradients);
}

LossSums LanguageObjective::evaluate(ops::Context& context, const data::Batch& batch) {
  check_batch(batch, lm_.config());
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  return LanguagePass(lm_, options_, context, batch).run();
}

}  // namespace fathom::train
