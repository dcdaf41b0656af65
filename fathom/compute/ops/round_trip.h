// Simulated low-precision storage of activations: encode and decode at once (specification 3.8).
//
// The caller asks where such points belong: official has all of them, fast BF16's in front of FP8
// weights. Gradients pass straight through, as they pass through every rounding to BF16.
#pragma once

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

enum class RoundTripFormat {
  E4m3,  // power-of-two scale per group, largest 448
  E2m1,  // power-of-two scale per group, largest 6
  Bf16,  // no scale: groups do not matter
};

// Columns [0, num_columns) of every row, in groups of `group` columns (the last may be shorter).
//
//   x    [T, D]
//   out  [T, D]  may be x; the other columns stay
template <typename Real>
struct RoundTripArgs {
  tensor::MatrixView<const Real> x;
  tensor::MatrixView<Real> out;
  Index num_columns;
  Index group;
  RoundTripFormat format;
};
// In place.
void round_trip(Context& context,
                const tensor::Tensor& x,
                Index row_width,
                Index num_columns,
                Index group,
                RoundTripFormat format);

// All columns of x [..., D], which stays: it may be what other ops read, and a recorder needs no
// copy of it.
tensor::Tensor rounded_trip(Context& context,
                            const tensor::Tensor& x,
                            Index group,
                            RoundTripFormat format);

}  // namespace fathom::ops
