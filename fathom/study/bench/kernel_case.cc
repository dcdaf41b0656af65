#include "fathom/study/bench/kernel_case.h"

namespace fathom::bench {

tensor::Tensor numbers(ops::Context& context,
                       const tensor::Shape& shape,
                       const std::function<double(Index)>& value_of) {
  const tensor::Tensor values = context.allocate(shape);
  for (Index idx = 0; idx < values.num_elements(); ++idx) {
    if (context.real == tensor::DType::F64) {
      values.data<double>()[idx] = value_of(idx);
    } else {
      values.data<float>()[idx] = static_cast<float>(value_of(idx));
    }
  }
  return values;
}

tensor::Tensor activations(ops::Context& context, const tensor::Shape& shape) {
  return numbers(context, shape,
                 [](Index idx) { return static_cast<double>(idx * 2654435761 % 2001) / 1000 - 1; });
}

std::string shape_text(std::initializer_list<Index> dims) {
  std::string text = "[";
  for (const Index dim : dims) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  }
  return text + "]";
}

}  // namespace fathom::bench
