#include "fathom/train/loop/trainer.h"

#include <limits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/core/ratio_of_sums.h"
#include "fathom/train/optim/grad_norm.h"

namespace fathom::train {
namespace {

// Batches without anything to learn from that are passed over until the data is taken to be empty.
constexpr Index kMostEmptyBatches = 10'000;

double weight_of(const data::Batch& batch) {
  double weight = 0;
  for (const float each : batch.loss_weights) {
    weight += static_cast<double>(each);
  }
  return weight;
}

// Of all gradients together; NaN, and `detail` saying where, for a number that is not finite.
double norm_of(std::span<const optim::Parameter> parameters,
               std::span<const std::span<const float>> gradients,
               platform::ThreadPool& pool,
               std::string& detail) {
  try {
    return optim::gradient_norm(parameters, gradients, pool);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::InvalidArgument) {
      throw;
    }
    detail = error.what();
    return std::numeric_limits<double>::quiet_NaN();
  }
}

}  // namespace

Trainer::Trainer(const TrainerParts& parts, const TrainerOptions& options)
    : parts_(parts), options_(options), guard_(options.guard) {
  if (options.batches_per_step < 1) {
    fail(ErrorCode::InvalidArgument, "batches_per_step: found ", options.batches_per_step,
         ", expected at least 1");
  }
  if (!(options.clip_norm >= 0)) {
    fail(ErrorCode::InvalidArgument, "clip_norm: found ", options.clip_norm,
         ", expected at least 0");
  }
  FATHOM_CHECK(parts.learning_rate != nullptr);
}

// All of a step's batches: each one's share of the loss depends on the others' weights.
std::vector<data::Batch> Trainer::read_batches() {
  std::vector<data::Batch> batches;
  Index num_empty = 0;
  while (to_index(batches.size()) < options_.batches_per_step) {
    data::Batch batch = parts_.source.next();
    state_.tokens += batch.num_tokens();
    if (weight_of(batch) > 0) {
      batches.push_back(std::move(batch));
    } else if (++num_empty > kMostEmptyBatches) {
      fail(ErrorCode::InvalidArgument, "data: ", kMostEmptyBatches,
           " batches in a row have no target that counts");
    }
  }
  return batches;
}

StepResult Trainer::step() {
  StepResult result;
  const Index tokens_before = state_.tokens;
  if (parts_.before_step) {
    parts_.before_step(state_.step + 1);
  }
  const std::vector<data::Batch> batches = read_batches();
  double total_weight = 0;
  for (const data::Batch& batch : batches) {
    total_weight += weight_of(batch);
  }
  autograd::ParameterGradients& gradients = parts_.model.gradients();
  gradients.clear();
  for (const data::Batch& batch : batches) {
    result.sums.add(parts_.objective.accumulate(parts_.context, batch, total_weight, gradients));
  }
  const std::vector<std::span<const float>> values = parts_.model.gradient_values();
  result.num_tokens = state_.tokens - tokens_before;
  result.loss = result.sums.loss / result.sums.weight;
  result.gradient_norm =
      norm_of(parts_.optimizer.parameters(), values, parts_.context.pool, result.detail);
  result.loss_limit = guard_.loss_limit();
  result.norm_limit = guard_.norm_limit();
  result.learning_rate = parts_.learning_rate(state_.step + 1);
  result.verdict = guard_.judge(result.loss, result.gradient_norm);
  if (!result.is_good()) {
    ++state_.refused_steps;
    ++state_.refused_in_a_row;
    result.step = state_.step;
    return result;
  }
  parts_.optimizer.step(values, optim::clip_factor(result.gradient_norm, options_.clip_norm),
                        result.learning_rate);
  parts_.model.follow_update(result.sums);
  guard_.accept(result.loss, result.gradient_norm);
  state_.refused_in_a_row = 0;
  result.step = ++state_.step;
  return result;
}

Validation Trainer::validate(data::BatchSource& source, Index num_batches) {
  Validation result;
  RatioOfSums loss;
  for (Index idx = 0; idx < num_batches; ++idx) {
    const data::Batch batch = source.next();
    result.num_tokens += batch.num_tokens();
    const LossSums sums = parts_.objective.evaluate(parts_.context, batch);
    loss.add(sums.loss, sums.weight);
    result.sums.add(sums);
  }
  if (!(loss.denominator() > 0)) {
    fail(ErrorCode::InvalidArgument, "validation: no target that counts in ", num_batches,
         " batches");
  }
  result.loss = loss.ratio();
  result.standard_error = loss.standard_error();
  return result;
}

TrainerState Trainer::state() const {
  TrainerState state = state_;
  state.history = guard_.history();
  return state;
}

void Trainer::restore(const TrainerState& state) {
  state_ = state;
  guard_.restore(state.history);
}

}  // namespace fathom::train
