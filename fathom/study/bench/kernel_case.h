// An op on one shape, ready to be timed.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include "fathom/compute/ops/context.h"
#include "fathom/study/bench/kernels.h"

namespace fathom::bench {

struct KernelCase {
  KernelResult result;    // what and where
  double work = 0;        // of one run: bytes or operations, as the bound counts
  bool is_bytes = false;  // which of the two
  std::function<void(Index run_idx)> run;
};
using MeasureKernel = std::function<void(const KernelCase&)>;

// In the step's memory; value_of(idx) is the number at a place.
tensor::Tensor numbers(ops::Context& context,
                       const tensor::Shape& shape,
                       const std::function<double(Index)>& value_of);
// Numbers between -1 and 1.
tensor::Tensor activations(ops::Context& context, const tensor::Shape& shape);

std::string shape_text(std::initializer_list<Index> dims);  // "[512, 64]"

}  // namespace fathom::bench
