#include "fathom/train/loop/language_objective.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/compute/ops/training_terms.h"
#include "fathom/train/loop/piece_batch.h"
#include "fathom/train/loop/weighted_losses.h"

namespace fathom::train {
namespace {

void check_coefficient(const char* name, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    fail(ErrorCode::InvalidArgument, name, ": ", value, ", expected a number of at least 0");
  }
}

bool has_weight(const data::Batch& batch) {
  return std::any_of(batch.loss_weights.begin(), batch.loss_weights.end(),
                     [](float weight) { return weight > 0; });
}

std::vector<ops::TrainingTerms::Piece> pieces_of(const data::Batch& batch) {
  std::vector<ops::TrainingTerms::Piece> pieces;
  auto weight = batch.loss_weights.begin();
  Index row = 0;
  for (const Index count : batch.piece_tokens) {
    pieces.push_back({row, count, std::accumulate(weight, weight + count, 0.0)});
    weight += count;
    row += count;
  }
  return pieces;
}

// A context with terms until the end of a block.
class TermsScope {
 public:
  TermsScope(ops::Context& context, ops::TrainingTerms& terms)
      : context_(context), before_(std::exchange(context.training, &terms)) {}
  ~TermsScope() { context_.training = before_; }
  TermsScope(const TermsScope&) = delete;
  TermsScope& operator=(const TermsScope&) = delete;

 private:
  ops::Context& context_;
  ops::TrainingTerms* before_;
};

// What the MTP block reads and predicts, row by row beside the trunk's.
struct DraftRows {
  std::vector<std::int32_t> tokens;   // that follow
  std::vector<std::int32_t> targets;  // that follow those
  std::vector<float> weights;         // 0 in the last row of a piece
};

// The targets, those that do not count replaced by ones that exist.
std::vector<std::int32_t> known_targets(std::vector<std::int32_t> targets,
                                        const std::vector<float>& weights) {
  std::transform(targets.begin(), targets.end(), weights.begin(), targets.begin(),
                 [](std::int32_t target, float weight) { return weight > 0 ? target : 0; });
  return targets;
}

DraftRows draft_rows(const data::Batch& batch, Index vocab_size) {
  DraftRows rows;
  Index row = 0;
  for (const Index count : batch.piece_tokens) {
    const auto from = [&](const auto& list, Index first) {
      return std::pair{list.begin() + first, list.begin() + row + count};
    };
    const auto append = [&](auto& list, const auto& range) {
      list.insert(list.end(), range.first, range.second);
    };
    append(rows.tokens, from(batch.tokens, row + 1));
    append(rows.targets, from(batch.targets, row + 1));
    append(rows.weights, from(batch.loss_weights, row + 1));
    // Nothing is predicted in a piece's last row, and no row sees it; it only keeps both blocks'
    // rows alike. What follows may be unknown.
    const std::size_t last = to_size(row + count - 1);
    const std::int32_t next = batch.targets[last];
    rows.tokens.push_back(next >= 0 && next < vocab_size ? next : batch.tokens[last]);
    rows.targets.push_back(0);
    rows.weights.push_back(0);
    row += count;
  }
  rows.targets = known_targets(std::move(rows.targets), rows.weights);
  return rows;
}

}  // namespace

// One batch on its way through the model. Lives until the way back has ended: layers run again.
class LanguageObjective::Pass {
 public:
  // Each loss counts for its coefficient divided by total_weight.
  Pass(const LanguageObjective& objective,
       ops::Context& context,
       const data::Batch& batch,
       double total_weight)
      : lm_(objective.lm_),
        options_(objective.options_),
        context_(context),
        batch_(batch),
        total_weight_(total_weight),
        targets_(known_targets(batch.targets, batch.loss_weights)),
        main_(context, lm_.cache_layout(), batch.tokens, batch.piece_tokens) {
    terms_.pieces = pieces_of(batch);
    terms_.layers.resize(lm_.config().layers.size() + lm_.config().mtp_layers.size());
    terms_.d_balance_loss = options_.balance_coefficient / total_weight;
    if (lm_.draft() != nullptr && options_.mtp_coefficient > 0) {
      draft_rows_ = draft_rows(batch, lm_.config().vocab_size);
      draft_.emplace(context, lm_.draft()->cache_layout(), draft_rows_.tokens, batch.piece_tokens);
    }
  }

  // Without a tape: only the losses.
  LossSums run(autograd::Tape* tape) {
    terms_.is_forward_only = tape == nullptr;
    const TermsScope scope(context_, terms_);
    LossSums sums;
    const tensor::Tensor hidden = lm_.forward(context_, main_.step());
    sums.loss = weighted_loss(
        batch_.loss_weights,
        [&](Index first, Index count) {
          return lm_.token_losses(context_, hidden.slice(first, count),
                                  std::span(targets_).subspan(to_size(first), to_size(count)));
        },
        tape, 1 / total_weight_);
    if (draft_) {
      sums.mtp_loss = draft_loss(hidden, tape);
    }
    if (tape != nullptr) {
      tape->run_backward();
    }
    add_terms(sums);
    return sums;
  }

 private:
  double draft_loss(const tensor::Tensor& hidden, ops::Gradients* gradients) {
    const layers::DraftModule& block = *lm_.draft();
    const tensor::Tensor drafted = block.forward(context_, draft_->step(), hidden);
    return weighted_loss(
        draft_rows_.weights,
        [&](Index first, Index count) {
          return block.token_losses(
              context_, drafted.slice(first, count),
              std::span(draft_rows_.targets).subspan(to_size(first), to_size(count)));
        },
        gradients, options_.mtp_coefficient / total_weight_);
  }

  void add_terms(LossSums& sums) const {
    for (const ops::TrainingTerms::Piece& piece : terms_.pieces) {
      sums.weight += piece.weight;
    }
    for (const ops::TrainingTerms::LayerSums& layer : terms_.layers) {
      sums.balance_loss += layer.balance_loss;
      sums.expert_tokens.push_back(layer.expert_tokens);
    }
  }

  const layers::CausalLm& lm_;
  const LanguageOptions& options_;
  ops::Context& context_;
  const data::Batch& batch_;
  double total_weight_;
  ops::TrainingTerms terms_;
  std::vector<std::int32_t> targets_;
  PieceBatch main_;
  DraftRows draft_rows_;
  std::optional<PieceBatch> draft_;
};

LanguageObjective::LanguageObjective(const layers::CausalLm& lm, const LanguageOptions& options)
    : lm_(lm), options_(options) {
  check_coefficient("mtp_coefficient", options.mtp_coefficient);
  check_coefficient("balance_coefficient", options.balance_coefficient);
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
  if (!(total_weight > 0) || !std::isfinite(total_weight)) {
    fail(ErrorCode::InvalidArgument, "total_weight: ", total_weight,
         ", expected a positive number (the weight of all targets of a step)");
  }
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  Pass pass(*this, context, batch, total_weight);
  autograd::Tape tape(context, gradients, options_.recomputation);
  return pass.run(&tape);
}

LossSums LanguageObjective::evaluate(ops::Context& context, const data::Batch& batch) {
  check_batch(batch, lm_.config());
  if (!has_weight(batch)) {
    return {};
  }
  const tensor::Arena::Scope scope(context.arena);
  return Pass(*this, context, batch, 1).run(nullptr);
}

}  // namespace fathom::train
