#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {
namespace {

// One row's scores, and their sum.
template <typename Real>
Real scores_of_row(const Real* logits, Index count, Real* scores) {
  Real sum = 0;
  for (Index expert = 0; expert < count; ++expert) {
    scores[expert] = ops::sqrt_softplus(logits[expert]);
    sum += scores[expert];
  }
  return sum;
}

// A piece's loss without its weight; `loads` becomes f, and `means` P.
template <typename Real>
double piece_loss(const ops::BalanceLossArgs<Real>& args, const ops::TrainingTerms::Piece& piece) {
  const Index num_experts = args.logits.columns;
  const Index num_chosen = to_index(args.chosen.size());
  Real* loads = args.scratch.row(0);
  Real* means = args.scratch.row(1);
  Real* scores = args.scratch.row(2);
  std::fill_n(loads, num_experts, Real{0});
  std::fill_n(means, num_experts, Real{0});
  for (Index row = piece.first_row; row < piece.first_row + piece.num_rows; ++row) {
    ops::choose_top_k(args.logits.row(row), args.no_bias, num_chosen, args.chosen.data(), scores);
    for (const std::int32_t expert : args.chosen) {
      loads[expert] += 1;
    }
    const Real sum = scores_of_row(args.logits.row(row), num_experts, scores);
    for (Index expert = 0; expert < num_experts; ++expert) {
      means[expert] += scores[expert] / sum;
    }
  }
  const auto num_rows = static_cast<Real>(piece.num_rows);
  double loss = 0;
  for (Index expert = 0; expert < num_experts; ++expert) {
    loads[expert] *= static_cast<Real>(num_experts) / (static_cast<Real>(num_chosen) * num_rows);
    means[expert] /= num_rows;
    loss += static_cast<double>(loads[expert]) * static_cast<double>(means[expert]);
  }
  return loss;
}

// After piece_loss: `factor` is the gradient of the loss by every P, divided by the rows.
template <typename Real>
void piece_backward(const ops::BalanceLossArgs<Real>& args,
                    const ops::TrainingTerms::Piece& piece,
                    Real factor) {
  const Index num_experts = args.logits.columns;
  const Real* loads = args.scratch.row(0);
  Real* scores = args.scratch.row(2);
  for (Index row = piece.first_row; row < piece.first_row + piece.num_rows; ++row) {
    const Real* logits = args.logits.row(row);
    Real* d_logits = args.d_logits.row(row);
    const Real sum = scores_of_row(logits, num_experts, scores);
    Real mean = 0;
    for (Index expert = 0; expert < num_experts; ++expert) {
      mean += loads[expert] * scores[expert] / sum;
    }
    for (Index expert = 0; expert < num_experts; ++expert) {
      d_logits[expert] +=
          factor * (loads[expert] - mean) / sum * ops::sqrt_softplus_slope(logits[expert]);
    }
  }
}

}  // namespace

template <typename Real>
void balance_loss(const ops::BalanceLossArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (const ops::TrainingTerms::Piece& piece : args.pieces) {
    *args.loss += piece.weight * piece_loss(args, piece);
    if (args.d_logits.data != nullptr) {
      piece_backward(
          args, piece,
          static_cast<Real>(args.d_loss * piece.weight / static_cast<double>(piece.num_rows)));
    }
  }
}

template void balance_loss(const ops::BalanceLossArgs<float>&, platform::ThreadPool&) noexcept;
template void balance_loss(const ops::BalanceLossArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
