#include "fathom/compute/tensor/arena.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/reserved_memory.h"

namespace fathom::tensor {

Arena::Arena(Index reserve_bytes) {
  constexpr Index kSmallest_bytes = Index{1} << 26;
  const auto memory =
      platform::reserve_memory(std::max(reserve_bytes, kSmallest_bytes), kSmallest_bytes);
  if (memory.data == nullptr) {
    fail(ErrorCode::OutOfMemory, "cannot reserve ", kSmallest_bytes, " bytes of address space");
  }
  base_ = memory.data;
  reserved_bytes_ = memory.num_bytes;
}

Arena::~Arena() {
  platform::release_memory({base_, reserved_bytes_});
}

std::byte* Arena::allocate(Index num_bytes) {
  FATHOM_CHECK(num_bytes >= 0);
  const Index rounded = ceil_div(num_bytes, kAlignment_bytes) * kAlignment_bytes;
  if (rounded > reserved_bytes_ - used_bytes_) {
    fail(ErrorCode::OutOfMemory, "step memory: ", num_bytes, " bytes wanted, ",
         reserved_bytes_ - used_bytes_, " of ", reserved_bytes_, " left; use a smaller chunk");
  }
  std::byte* data = base_ + used_bytes_;
  used_bytes_ += rounded;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return data;
}

void Arena::rewind(Index mark) {
  FATHOM_DCHECK(mark <= used_bytes_);
  used_bytes_ = std::max(mark, kept_bytes_);
}

}  // namespace fathom::tensor
