#include "fathom/train/optim/muon.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "fathom/train/optim/matmul.h"

namespace fathom::optim {
namespace {

struct Coefficients {
  double first;
  double third;
  double fifth;
};

// The first ones lift small singular values fast and leave them between 0.7 and 1.2; the last two
// converge to one from there.
constexpr std::array<Coefficients, 10> kIterations = [] {
  std::array<Coefficients, 10> iterations{};
  iterations.fill({3.4445, -4.7750, 2.0315});
  iterations[8] = iterations[9] = {2, -1.5, 0.5};
  return iterations;
}();

template <typename Real>
double norm_of(const std::vector<Real>& numbers) {
  double squares = 0;
  for (const Real number : numbers) {
    squares += static_cast<double>(number) * static_cast<double>(number);
  }
  return std::sqrt(squares);
}

template <typename Real>
void transpose(Index rows, Index columns, const Real* from, Real* to) {
  constexpr Index kBlock = 16;  // columns of a cache line
  for (Index first = 0; first < columns; first += kBlock) {
    for (Index row = 0; row < rows; ++row) {
      for (Index column = first; column < std::min(first + kBlock, columns); ++column) {
        to[column * rows + row] = from[row * columns + column];
      }
    }
  }
}

// X [n, m] becomes aX + (bA + cAA) X with A = XX'.
template <typename Real>
void iterate(const Coefficients& coefficients, Index n, Index m, MuonScratch<Real>& scratch) {
  multiply(MatrixProduct<Real>{.rows = n,
                               .inner = m,
                               .columns = n,
                               .left = scratch.wide.data(),
                               .right = scratch.wide.data(),
                               .right_is_transposed = true,
                               .out = scratch.gram.data(),
                               .is_symmetric = true});
  multiply(MatrixProduct<Real>{.rows = n,
                               .inner = n,
                               .columns = n,
                               .left = scratch.gram.data(),
                               .right = scratch.gram.data(),
                               .addend = scratch.gram.data(),
                               .product_scale = static_cast<Real>(coefficients.fifth),
                               .addend_scale = static_cast<Real>(coefficients.third),
                               .out = scratch.polynomial.data(),
                               .is_symmetric = true});
  multiply(MatrixProduct<Real>{.rows = n,
                               .inner = n,
                               .columns = m,
                               .left = scratch.polynomial.data(),
                               .right = scratch.wide.data(),
                               .addend = scratch.wide.data(),
                               .addend_scale = static_cast<Real>(coefficients.first),
                               .out = scratch.next.data()});
  std::swap(scratch.wide, scratch.next);
}

}  // namespace

template <typename Real>
void orthogonalise(Index rows, Index columns, MuonScratch<Real>& scratch) {
  const double norm = norm_of(scratch.update);
  if (norm == 0) {
    return;
  }
  for (Real& number : scratch.update) {
    number = static_cast<Real>(static_cast<double>(number) / norm);
  }
  // The Gram matrix of the shorter side costs less and has the same singular values.
  const bool is_tall = rows > columns;
  const Index n = std::min(rows, columns);
  const Index m = std::max(rows, columns);
  scratch.wide.resize(to_size(n * m));
  scratch.next.resize(to_size(n * m));
  scratch.gram.resize(to_size(n * n));
  scratch.polynomial.resize(to_size(n * n));
  if (is_tall) {
    transpose(rows, columns, scratch.update.data(), scratch.wide.data());
  } else {
    std::swap(scratch.wide, scratch.update);
  }
  for (const Coefficients& coefficients : kIterations) {
    iterate(coefficients, n, m, scratch);
  }
  if (is_tall) {
    transpose(columns, rows, scratch.wide.data(), scratch.update.data());
  } else {
    std::swap(scratch.wide, scratch.update);
  }
}

template <typename Real>
void muon_update(const MuonStep& step, const MuonMatrix<Real>& matrix, MuonScratch<Real>& scratch) {
  const std::size_t count = matrix.values.size();
  const auto mu = static_cast<Real>(step.options.momentum);
  const auto gradient_scale = static_cast<Real>(step.gradient_scale);
  scratch.update.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Real gradient = matrix.gradient[i] * gradient_scale;
    matrix.momentum[i] = mu * matrix.momentum[i] + gradient;
    scratch.update[i] = mu * matrix.momentum[i] + gradient;
  }
  orthogonalise(matrix.rows, matrix.columns, scratch);
  const auto keep = static_cast<Real>(1 - step.learning_rate * step.weight_decay);
  const auto rate =
      static_cast<Real>(step.learning_rate * step.options.update_rms *
                        std::sqrt(static_cast<double>(std::max(matrix.rows, matrix.columns))));
  for (std::size_t i = 0; i < count; ++i) {
    matrix.values[i] = keep * matrix.values[i] - rate * scratch.update[i];
  }
}

template void orthogonalise(Index, Index, MuonScratch<float>&);
template void orthogonalise(Index, Index, MuonScratch<double>&);
template void muon_update(const MuonStep&, const MuonMatrix<float>&, MuonScratch<float>&);
template void muon_update(const MuonStep&, const MuonMatrix<double>&, MuonScratch<double>&);

}  // namespace fathom::optim
