// One matrix of weights as layers use it.
#pragma once

#include <atomic>
#include <string>

#include "fathom/model/weights/store.h"

namespace fathom::layers {

class Weight {
 public:
  explicit Weight(weights::NamedView named) : named_(std::move(named)) {}
  Weight(Weight&& other) noexcept
      : named_(std::move(other.named_)), is_checked_(other.is_checked_.load()) {}
  Weight& operator=(Weight&&) = delete;

  // The matrix. The first call fills its panels, if it goes into some, reads its scales, and throws
  // InvalidCheckpoint, naming the tensor, if one of them is not a number: opening a model reads
  // headers only, so this is where it shows. Not from a parallel loop.
  const numeric::WeightView& view() const;

  // The matrix perhaps not filled, its scales unchecked: for its shape and format.
  const numeric::WeightView& shape() const { return named_.view; }

  const std::string& name() const { return named_.name; }
  numeric::WeightFormat format() const { return named_.view.format; }
  // The official numerics round the input of products with FP8 and FP4 weights (specification 3.8).
  bool rounds_its_input() const;

 private:
  weights::NamedView named_;
  mutable std::atomic<bool> is_checked_ = false;
};

}  // namespace fathom::layers
