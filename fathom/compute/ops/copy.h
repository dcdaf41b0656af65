// Moving numbers without computing on them.
#pragma once

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// to = from; the same number of elements, of the same type. What `to` held before is lost, and with
// it its gradient: it has to be memory that no recorded op has written.
void copy(Context& context, const tensor::Tensor& from, const tensor::Tensor& to);

// to[t, j] = from[t] for every j: from [T, D], to [T, N, D]. The same holds for `to`.
void repeat_rows(Context& context, const tensor::Tensor& from, const tensor::Tensor& to);

}  // namespace fathom::ops
