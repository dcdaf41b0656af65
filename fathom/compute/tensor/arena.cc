#include "fathom/compute/tensor/arena.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::tensor {
namespace {

constexpr Index kSmallest_bytes = Index{1} << 26;

}  // namespace

Arena::Arena(Index reserve_bytes)
    : memory_("step memory", std::max(reserve_bytes, kSmallest_bytes), kSmallest_bytes) {}

std::byte* Arena::allocate(Index num_bytes) {
  FATHOM_CHECK(num_bytes >= 0);
  const Index rounded = ceil_div(num_bytes, kAlignment_bytes) * kAlignment_bytes;
  const Index left = reserved_bytes() - used_bytes_;
  if (rounded > left) {
    fail(ErrorCode::OutOfMemory, "step memory: ", num_bytes, " bytes wanted, ", left, " of ",
         reserved_bytes(), " left; use a smaller chunk");
  }
  std::byte* data = base() + used_bytes_;
  used_bytes_ += rounded;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return data;
}

void Arena::rewind(Index mark) {
  FATHOM_DCHECK(mark <= used_bytes_);
  used_bytes_ = std::max(mark, kept_bytes_);
}

}  // namespace fathom::tensor
