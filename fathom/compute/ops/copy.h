// Moving numbers without computing on them.
#pragma once

#include <string_view>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// to = from; the same number of elements, of the same type. What `to` held before is lost, and with
// it its gradient: it has to be memory that no recorded op has written.
void copy(Context& context, const tensor::Tensor& from, const tensor::Tensor& to);

// Records that `to` has the numbers of `from`, or what op rounded them to, in rows that follow each
// other for each of `from`: its gradient is added to theirs.
void record_copy(Context& context,
                 std::string_view op,
                 const tensor::Tensor& from,
                 const tensor::Tensor& to);

// to[t, j] = from[t] for every j: from [T, D], to [T, N, D]. The same holds for `to`.
void repeat_rows(Context& context, const tensor::Tensor& from, const tensor::Tensor& to);

}  // namespace fathom::ops
