// Muon: momentum whose update is a matrix with all singular values near one.
//
// Architecture specification 6.2. Real is float, or double for exact comparisons.
#pragma once

#include <span>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/train/optim/optimizer.h"

namespace fathom::optim {

// What is the same for every number of a matrix in one step.
struct MuonStep {
  MuonOptions options = {};
  double learning_rate = 0;
  double weight_decay = 0;    // 0 for a parameter that does not decay
  double gradient_scale = 1;  // gradients are multiplied by it as they are read
};

// A matrix [rows, columns] with its momentum, row after row.
template <typename Real>
struct MuonMatrix {
  Index rows = 0;
  Index columns = 0;
  std::span<Real> values;
  std::span<const Real> gradient;
  std::span<Real> momentum;
};

// Memory of one thread; it grows to what the largest matrix needs.
template <typename Real>
struct MuonScratch {
  std::vector<Real> update;
  std::vector<Real> wide;  // [n, m], n <= m
  std::vector<Real> next;
  std::vector<Real> gram;  // [n, n]
  std::vector<Real> polynomial;
};

// Brings all singular values of scratch.update [rows, columns] near one: 8 Newton-Schulz iterations
// X <- aX + b(XX')X + c(XX')^2 X with (3.4445, -4.7750, 2.0315) and 2 with (2, -1.5, 0.5), from
// X / |X|. A matrix of zeros stays one.
template <typename Real>
void orthogonalise(Index rows, Index columns, MuonScratch<Real>& scratch);

//   momentum = mu * momentum + g,  O = orthogonalise(mu * momentum + g)
//   value = value * (1 - rate * decay) - rate * update_rms * sqrt(max(rows, columns)) * O
template <typename Real>
void muon_update(const MuonStep& step, const MuonMatrix<Real>& matrix, MuonScratch<Real>& scratch);

}  // namespace fathom::optim
