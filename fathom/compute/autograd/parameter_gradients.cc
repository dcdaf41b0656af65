#include "fathom/compute/autograd/parameter_gradients.h"

#include <algorithm>

namespace fathom::autograd {

void ParameterGradients::add(const void* weights, Index rows, Index columns) {
  FATHOM_CHECK(weights != nullptr && rows > 0 && columns > 0);
  const auto [at, is_added] = entries_.try_emplace(weights, Entry{rows, columns, nullptr, false});
  FATHOM_CHECK(at->second.rows == rows && at->second.columns == columns);
}

tensor::Tensor ParameterGradients::at(const void* weights) {
  const auto found = entries_.find(weights);
  if (found == entries_.end()) {
    return {};
  }
  Entry& entry = found->second;
  if (entry.bytes == nullptr) {
    entry.bytes = std::make_unique<std::byte[]>(to_size(entry.tensor(real_).num_bytes()));  // zeros
  } else if (!entry.is_reached) {
    std::fill_n(entry.bytes.get(), entry.tensor(real_).num_bytes(), std::byte{0});
  }
  entry.is_reached = true;
  return entry.tensor(real_);
}

tensor::Tensor ParameterGradients::find(const void* weights) const {
  const auto found = entries_.find(weights);
  return found == entries_.end() || !found->second.is_reached ? tensor::Tensor()
                                                              : found->second.tensor(real_);
}

void ParameterGradients::clear() {
  for (auto& [weights, entry] : entries_) {
    entry.is_reached = false;
  }
}

GradientMemory& ParameterGradients::of_step(const tensor::Arena& values,
                                            platform::ThreadPool& pool) {
  if (of_step_ == nullptr || &of_step_->values() != &values) {
    of_step_ = std::make_unique<GradientMemory>(values, pool);
  }
  of_step_->clear_from(0);
  return *of_step_;
}

}  // namespace fathom::autograd
