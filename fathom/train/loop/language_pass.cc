#include "fathom/train/loop/language_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/train/loop/weighted_losses.h"

namespace fathom::train {
namespace {

using DraftRows = LanguagePass::DraftRows;

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

bool has_weight(const data::Batch& batch) {
  return std::any_of(batch.loss_weights.begin(), batch.loss_weights.end(),
                     [](float weight) { return weight > 0; });
}

void check_total_weight(double total_weight) {
  if (!(total_weight > 0) || !std::isfinite(total_weight)) {
    fail(ErrorCode::InvalidArgument, "total_weight: ", total_weight,
         ", expected a positive number (the weight of all targets of a step)");
  }
}

LanguagePass::LanguagePass(const layers::CausalLm& lm,
                           const LanguageOptions& options,
                           ops::Context& context,
                           const data::Batch& batch,
                           const TeacherTerm& teacher)
    : lm_(lm),
      options_(options),
      teacher_(teacher),
      context_(context),
      batch_(batch),
      targets_(known_targets(batch.targets, batch.loss_weights)),
      main_(context, lm.cache_layout(), batch.tokens, batch.piece_tokens) {
  terms_.pieces = pieces_of(batch);
  terms_.layers.resize(lm.config().layers.size() + lm.config().mtp_layers.size());
  terms_.teaches_every_block = options.indexer_warm_up;
  if (lm.draft() != nullptr && options.mtp_coefficient > 0) {
    draft_rows_ = draft_rows(batch, lm.config().vocab_size);
    draft_.emplace(context, lm.draft()->cache_layout(), draft_rows_.tokens, batch.piece_tokens);
  }
}

LossSums LanguagePass::run() {
  terms_.is_forward_only = true;
  return run(nullptr, 1);
}

LossSums LanguagePass::run_with_gradients(double total_weight,
                                          autograd::ParameterGradients& gradients) {
  autograd::Tape tape(context_, gradients, options_.recomputation);
  const LossSums sums = run(&tape, total_weight);
  gradient_bytes_ = tape.gradient_bytes();
  return sums;
}

LossSums LanguagePass::run(autograd::Tape* tape, double total_weight) {
  terms_.d_balance_loss = options_.balance_coefficient / total_weight;
  terms_.d_indexer_loss = options_.indexer_coefficient / total_weight;
  const TermsScope scope(context_, terms_);
  LossSums sums;
  const tensor::Tensor hidden = lm_.forward(context_, main_.step());
  sums.loss = token_loss(hidden, tape, (1 - teacher_.weight) / total_weight);
  if (teacher_.weight > 0) {
    sums.distillation_loss = teacher_loss(hidden, tape, teacher_.weight / total_weight);
  }
  if (draft_) {
    sums.mtp_loss = draft_loss(hidden, tape, options_.mtp_coefficient / total_weight);
  }
  if (tape != nullptr) {
    tape->run_backward();
  }
  add_terms(sums);
  return sums;
}

double LanguagePass::token_loss(const tensor::Tensor& hidden,
                                ops::Gradients* gradients,
                                double d_sum) const {
  return weighted_loss(
      batch_.loss_weights,
      [&](Index first, Index count) {
        return lm_.token_losses(context_, hidden.slice(first, count),
                                std::span(targets_).subspan(to_size(first), to_size(count)));
      },
      d_sum > 0 ? gradients : nullptr, d_sum);
}

double LanguagePass::teacher_loss(const tensor::Tensor& hidden,
                                  ops::Gradients* gradients,
                                  double d_sum) const {
  return weighted_loss(
      batch_.loss_weights,
      [&](Index first, Index count) {
        const layers::HeadInput input = lm_.head_input(context_, hidden.slice(first, count));
        return ops::head_distillation(context_, input.head, input.x,
                                      teacher_.top.slice(first, count));
      },
      gradients, d_sum);
}

double LanguagePass::draft_loss(const tensor::Tensor& hidden,
                                ops::Gradients* gradients,
                                double d_sum) const {
  const layers::DraftModule& block = *lm_.draft();
  const tensor::Tensor drafted = block.forward(context_, draft_->step(), hidden);
  return weighted_loss(
      draft_rows_.weights,
      [&](Index first, Index count) {
        return block.token_losses(
            context_, drafted.slice(first, count),
            std::span(draft_rows_.targets).subspan(to_size(first), to_size(count)));
      },
      gradients, d_sum);
}

void LanguagePass::add_terms(LossSums& sums) const {
  for (const ops::TrainingTerms::Piece& piece : terms_.pieces) {
    sums.weight += piece.weight;
  }
  for (const ops::TrainingTerms::LayerSums& layer : terms_.layers) {
    sums.balance_loss += layer.balance_loss;
    sums.indexer_loss += layer.indexer_loss;
    sums.expert_tokens.push_back(layer.expert_tokens);
  }
}

}  // namespace fathom::train
