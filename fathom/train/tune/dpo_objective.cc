#include "fathom/train/tune/dpo_objective.h"

#include <cmath>
#include <optional>

#include "fathom/base/core/error.h"
#include "fathom/train/loop/piece_batch.h"
#include "fathom/train/loop/weighted_losses.h"

namespace fathom::tune {
namespace {

void check_pairs(const data::Batch& batch, const config::ModelConfig& config) {
  train::check_batch(batch, config);
  if (batch.piece_tokens.empty() || batch.piece_tokens.size() % 2 != 0) {
    fail(ErrorCode::InvalidArgument, "pairs: ", batch.piece_tokens.size(),
         " pieces in a batch, expected two for each pair");
  }
}

// Neighbouring rows whose losses were computed, all of one piece.
struct Run {
  std::size_t piece;
  Index first;
  tensor::Tensor losses;
};

// A batch on its way through a model.
class Pass {
 public:
  Pass(const layers::CausalLm& lm, ops::Context& context, const data::Batch& batch)
      : batch_(batch),
        targets_(batch.targets),
        pieces_(context, lm.cache_layout(), batch.tokens, batch.piece_tokens) {
    for (std::size_t row = 0; row < targets_.size(); ++row) {
      targets_[row] = counts(to_index(row)) ? targets_[row] : 0;  // one that exists
    }
    const tensor::Tensor hidden = lm.forward(context, pieces_.step());
    Index begin = 0;
    for (std::size_t piece = 0; piece < batch.piece_tokens.size(); ++piece) {
      const Index count = batch.piece_tokens[piece];
      for (const train::RowRun& run : train::weighted_runs(
               std::span(batch.loss_weights).subspan(to_size(begin), to_size(count)))) {
        const Index first = begin + run.first;
        runs_.push_back(
            {piece, first,
             lm.token_losses(context, hidden.slice(first, run.count),
                             std::span(targets_).subspan(to_size(first), to_size(run.count)))});
      }
      begin += count;
    }
  }

  // -log p of each piece's reply.
  std::vector<double> losses() const {
    std::vector<double> sums(batch_.piece_tokens.size());
    for (const Run& run : runs_) {
      for (Index i = 0; i < run.losses.num_elements(); ++i) {
        sums[run.piece] += counts(run.first + i) ? number(run.losses, i) : 0;
      }
    }
    return sums;
  }

  // The gradient of every loss: that of its piece.
  void set_gradients(ops::Gradients& gradients, const std::vector<double>& d_pieces) const {
    for (const Run& run : runs_) {
      const tensor::Tensor d_losses = gradients.of(run.losses);
      for (Index i = 0; i < run.losses.num_elements(); ++i) {
        const double d_loss = counts(run.first + i) ? d_pieces[run.piece] : 0;
        if (d_losses.dtype() == tensor::DType::F64) {
          d_losses.data<double>()[i] = d_loss;
        } else {
          d_losses.data<float>()[i] = static_cast<float>(d_loss);
        }
      }
    }
  }

 private:
  bool counts(Index row) const { return batch_.loss_weights[to_size(row)] > 0; }
  static double number(const tensor::Tensor& losses, Index i) {
    return losses.dtype() == tensor::DType::F64 ? losses.data<double>()[i]
                                                : static_cast<double>(losses.data<float>()[i]);
  }

  const data::Batch& batch_;
  std::vector<std::int32_t> targets_;
  train::PieceBatch pieces_;
  std::vector<Run> runs_;
};

// What each pair counts for.
std::vector<double> pair_weights(const data::Batch& batch) {
  std::vector<double> weights(batch.piece_tokens.size() / 2);
  std::size_t row = 0;
  for (std::size_t piece = 0; piece < batch.piece_tokens.size(); ++piece) {
    for (Index i = 0; i < batch.piece_tokens[piece]; ++i) {
      weights[piece / 2] += static_cast<double>(batch.loss_weights[row++]);
    }
  }
  return weights;
}

// log(1 + exp(-margin)) without overflow.
double loss_of(double margin) {
  return std::max(-margin, 0.0) + std::log1p(std::exp(-std::abs(margin)));
}

train::LossSums sums_of(const std::vector<double>& margins, const std::vector<double>& weights) {
  train::LossSums sums;
  for (std::size_t pair = 0; pair < margins.size(); ++pair) {
    sums.loss += weights[pair] * loss_of(margins[pair]);
    sums.weight += weights[pair];
  }
  return sums;
}

std::vector<double> losses_without_tape(const layers::CausalLm& lm,
                                        ops::Context& context,
                                        const data::Batch& batch) {
  const tensor::Arena::Scope scope(context.arena);
  return Pass(lm, context, batch).losses();
}

}  // namespace

DpoObjective::DpoObjective(const layers::CausalLm& policy,
                           const layers::CausalLm& reference,
                           const DpoOptions& options)
    : policy_(policy), reference_(reference), options_(options) {
  if (!(options.beta > 0) || !std::isfinite(options.beta)) {
    fail(ErrorCode::InvalidArgument, "beta: found ", options.beta, ", expected a number above 0");
  }
}

// Losses are negative log-probabilities.
std::vector<double> DpoObjective::margins_of(const std::vector<double>& policy,
                                             const std::vector<double>& reference) const {
  std::vector<double> margins(policy.size() / 2);
  for (std::size_t pair = 0; pair < margins.size(); ++pair) {
    const std::size_t chosen = 2 * pair;
    margins[pair] = options_.beta * ((reference[chosen] - policy[chosen]) -
                                     (reference[chosen + 1] - policy[chosen + 1]));
  }
  return margins;
}

std::vector<double> DpoObjective::margins(ops::Context& context, const data::Batch& batch) {
  check_pairs(batch, policy_.config());
  return margins_of(losses_without_tape(policy_, context, batch),
                    losses_without_tape(reference_, context, batch));
}

train::LossSums DpoObjective::accumulate(ops::Context& context,
                                         const data::Batch& batch,
                                         double total_weight,
                                         autograd::ParameterGradients& gradients) {
  check_pairs(batch, policy_.config());
  if (!(total_weight > 0) || !std::isfinite(total_weight)) {
    fail(ErrorCode::InvalidArgument, "total_weight: ", total_weight,
         ", expected a positive number (the weight of all pairs of a step)");
  }
  const std::vector<double> reference = losses_without_tape(reference_, context, batch);
  const std::vector<double> weights = pair_weights(batch);
  const tensor::Arena::Scope scope(context.arena);
  std::optional<Pass> pass;  // longer than the tape, which runs layers again
  autograd::Tape tape(context, gradients, options_.recomputation);
  pass.emplace(policy_, context, batch);
  const std::vector<double> margins = margins_of(pass->losses(), reference);
  std::vector<double> d_pieces(batch.piece_tokens.size());
  for (std::size_t pair = 0; pair < margins.size(); ++pair) {
    // Of -log p(chosen): beta times the probability that the other one is preferred.
    const double d_loss =
        options_.beta * weights[pair] / total_weight / (1 + std::exp(margins[pair]));
    d_pieces[2 * pair] = d_loss;
    d_pieces[2 * pair + 1] = -d_loss;
  }
  pass->set_gradients(tape, d_pieces);
  tape.run_backward();
  return sums_of(margins, weights);
}

train::LossSums DpoObjective::evaluate(ops::Context& context, const data::Batch& batch) {
  const std::vector<double> found = margins(context, batch);  // which checks the batch
  return sums_of(found, pair_weights(batch));
}

}  // namespace fathom::tune
