// Gradients of everything in step memory: a second range of addresses laid out like the arena.
//
// The gradient of a number lies as far behind the front of its range as the number behind the front
// of the arena's, so every view of a tensor (a slice, another shape) finds the same gradient
// without any list. Memory that was never asked for costs nothing and is zero.
#pragma once

#include <vector>

#include "fathom/compute/tensor/arena.h"

namespace fathom::autograd {

class GradientMemory {
 public:
  // Throws OutOfMemory.
  explicit GradientMemory(const tensor::Arena& values);

  bool has(const void* value) const;  // whether the address is the arena's
  // Where the gradient of the numbers in [value, value + num_bytes) is. Throws OutOfMemory when
  // less address space was granted than the step uses.
  std::byte* at(const void* value, Index num_bytes);

  // Whether any of these numbers' gradients was asked for.
  bool is_marked(const void* value, Index num_bytes) const;
  void mark(const void* value, Index num_bytes);

  // Forgets the gradients of what lies in the arena from `first_byte` on: zeros, not marked.
  void clear_from(Index first_byte);

 private:
  // What is marked at a time, in bytes: tensors begin at such borders, slices of them need not, and
  // what shares a line with a marked number only counts as marked with a gradient of zero.
  static constexpr Index kLine = tensor::Arena::kAlignment_bytes;
  Index offset_of(const void* value) const;

  const tensor::Arena& values_;
  tensor::Arena memory_;
  std::vector<bool> marks_;  // a bit per line
};

}  // namespace fathom::autograd
