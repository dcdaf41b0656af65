#include "fathom/compute/autograd/gradient_memory.h"

#include <algorithm>
#include <cstring>

#include "fathom/base/core/error.h"

namespace fathom::autograd {

GradientMemory::GradientMemory(const tensor::Arena& values)
    : values_(values), memory_(values.reserved_bytes()) {}

bool GradientMemory::has(const void* value) const {
  const auto* byte = static_cast<const std::byte*>(value);
  return byte >= values_.base() && byte < values_.base() + values_.reserved_bytes();
}

Index GradientMemory::offset_of(const void* value) const {
  FATHOM_CHECK(has(value));
  return static_cast<const std::byte*>(value) - values_.base();
}

std::byte* GradientMemory::at(const void* value, Index num_bytes) {
  const Index offset = offset_of(value);
  if (offset + num_bytes > memory_.reserved_bytes()) {
    fail(ErrorCode::OutOfMemory, "gradients: ", offset + num_bytes,
         " bytes of address space wanted, ", memory_.reserved_bytes(), " granted");
  }
  return memory_.base() + offset;
}

bool GradientMemory::is_marked(const void* value, Index num_bytes) const {
  const Index first = offset_of(value) / kLine;
  const Index end =
      std::min(ceil_div(offset_of(value) + num_bytes, kLine), to_index(marks_.size()));
  return first < end &&
         std::find(marks_.begin() + first, marks_.begin() + end, true) != marks_.begin() + end;
}

void GradientMemory::mark(const void* value, Index num_bytes) {
  const Index first = offset_of(value) / kLine;
  const Index end = ceil_div(offset_of(value) + num_bytes, kLine);
  if (end > to_index(marks_.size())) {
    marks_.resize(std::max(to_size(end), 2 * marks_.size()));
  }
  std::fill(marks_.begin() + first, marks_.begin() + end, true);
}

void GradientMemory::clear_from(Index first_byte) {
  // A tensor before may end in the first line, but none begins there: allocations are whole lines.
  FATHOM_CHECK(first_byte % kLine == 0);
  for (Index line = first_byte / kLine; line < to_index(marks_.size()); ++line) {
    if (marks_[to_size(line)]) {
      std::memset(memory_.base() + line * kLine, 0, to_size(kLine));
      marks_[to_size(line)] = false;
    }
  }
}

}  // namespace fathom::autograd
