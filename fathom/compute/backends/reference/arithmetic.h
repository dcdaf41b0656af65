// Scalar arithmetic that several reference kernels share.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "fathom/base/core/index.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {

// The K-order of docs/numerics.md: number k is added to lane k mod 16, and at the end lane l gets
// lane l + 8, then l + 4, l + 2, l + 1.
inline constexpr Index kLanes = 16;

template <typename Real>
Real sum_lanes(Real* lanes) {
  for (Index half = kLanes / 2; half > 0; half /= 2) {
    for (Index lane = 0; lane < half; ++lane) {
      lanes[lane] += lanes[lane + half];
    }
  }
  return lanes[0];
}

// lanes[k mod 16] += a[k] b[k].
template <typename Real>
void add_products(const Real* a, const Real* b, Index count, Real* lanes) {
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (Index lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += a[k + lane] * b[k + lane];
    }
  }
  for (Index lane = 0; k + lane < count; ++lane) {
    lanes[lane] += a[k + lane] * b[k + lane];
  }
}

template <typename Real>
Real dot(const Real* a, const Real* b, Index count) {
  Real lanes[kLanes] = {};
  add_products(a, b, count, lanes);
  return sum_lanes(lanes);
}

// scores[i] = scale * (query . row_of(i)) for every row an attention head sees; the largest of
// them.
template <typename Real, typename RowOf>
Real score_rows(const Real* query,
                const RowOf& row_of,
                Index num_rows,
                Index width,
                double scale,
                Real* scores) {
  Real largest = -std::numeric_limits<Real>::infinity();
  for (Index idx = 0; idx < num_rows; ++idx) {
    scores[idx] = dot(query, row_of(idx), width) * static_cast<Real>(scale);
    largest = std::max(largest, scores[idx]);
  }
  return largest;
}

using ops::rounded;
using ops::sigmoid;

}  // namespace fathom::reference
