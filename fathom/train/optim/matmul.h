// Products of dense row-major matrices of the sizes of weights, for Newton-Schulz iterations.
//
// One thread; who has many matrices gives each thread its own. The order of the sums is a property
// of the extents and the instruction set.
#pragma once

#include "fathom/base/core/index.h"

namespace fathom::optim {

// out = product_scale * left * right + addend_scale * addend; rows lie one after another.
//
//   left    [rows, inner]
//   right   [inner, columns], or [columns, inner] when right_is_transposed
//   addend  [rows, columns]; null: none
//   out     [rows, columns]; none of the others
template <typename Real>
struct MatrixProduct {
  Index rows = 0;
  Index inner = 0;
  Index columns = 0;
  const Real* left = nullptr;
  const Real* right = nullptr;
  bool right_is_transposed = false;
  const Real* addend = nullptr;
  Real product_scale = 1;
  Real addend_scale = 0;
  Real* out = nullptr;
  bool is_symmetric = false;  // the result is known to be: half of it is computed
};

void multiply(const MatrixProduct<float>& product) noexcept;
// Plain loops: what the other one is compared with.
void multiply(const MatrixProduct<double>& product) noexcept;

}  // namespace fathom::optim
