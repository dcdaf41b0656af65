// Moving numbers without computing on them.
#pragma once

#include "fathom/compute/tensor/tensor.h"

namespace fathom::ops {

// to = from; the same number of elements, of the same type.
void copy(const tensor::Tensor& from, const tensor::Tensor& to);

// to[t, j] = from[t] for every j: from [T, D], to [T, N, D].
void repeat_rows(const tensor::Tensor& from, const tensor::Tensor& to);

}  // namespace fathom::ops
