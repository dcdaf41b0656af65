// Gradients of everything in step memory: a second range of addresses laid out like the arena.
//
// The gradient of a number lies as far behind the front of its range as the number behind the front
// of the arena's, so every view of a tensor (a slice, another shape) finds the same gradient
// without any list. Memory that was never asked for costs nothing; it is kept from step to step.
#pragma once

#include <cstdint>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/tensor/arena.h"

namespace fathom::autograd {

class GradientMemory {
 public:
  // Throws OutOfMemory.
  GradientMemory(const tensor::Arena& values, platform::ThreadPool& pool);

  bool has(const void* value) const;  // whether the address is the arena's
  const tensor::Arena& values() const { return values_; }

  // The gradient of the numbers in [value, value + num_bytes), marked: zeros where it was not
  // before. Throws OutOfMemory when less address space was granted than the step uses.
  std::byte* mark(const void* value, Index num_bytes);
  // Whether any of these numbers' gradients was asked for.
  bool is_marked(const void* value, Index num_bytes) const;
  // Of all numbers that were marked by now, also those forgotten: what the gradients cost.
  Index touched_bytes() const;

  // Forgets the gradients of what lies in the arena from `first_byte` on.
  void clear_from(Index first_byte);

 private:
  // What is marked at a time, in bytes: tensors begin at such borders, slices of them need not, and
  // what shares a line with a marked number only counts as marked with a gradient of zero.
  static constexpr Index kLine = tensor::Arena::kAlignment_bytes;
  static constexpr Index kLinesPerWord = 64;
  // Lines [first, end).
  struct Lines {
    Index first;
    Index end;
  };
  Lines lines_of(const void* value, Index num_bytes) const;

  const tensor::Arena& values_;
  platform::ThreadPool& pool_;
  tensor::Arena memory_;
  std::vector<std::uint64_t> marks_;  // a bit per line
  std::vector<std::uint64_t> touched_;
};

}  // namespace fathom::autograd
