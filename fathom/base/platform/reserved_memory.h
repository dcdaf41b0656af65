// Address space without memory behind it until it is touched.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// What a range is given back with.
struct UnmapMemory {
  Index num_bytes = 0;
  void operator()(std::byte* data) const;
};

// A zeroed, writable range, given back when it ends.
class ReservedMemory {
 public:
  ReservedMemory() = default;
  // At least `minimum_bytes`, as close to `wanted_bytes` as the system grants; of nothing, data()
  // is null. Throws OutOfMemory, naming `purpose`.
  ReservedMemory(std::string_view purpose, Index wanted_bytes, Index minimum_bytes);
  ReservedMemory(std::string_view purpose, Index num_bytes)
      : ReservedMemory(purpose, num_bytes, num_bytes) {}

  std::byte* data() const { return data_.get(); }
  Index num_bytes() const { return data_.get_deleter().num_bytes; }

  // A hint, before the range is touched.
  void ask_for_huge_pages() const;

 private:
  std::unique_ptr<std::byte[], UnmapMemory> data_;
};

}  // namespace fathom::platform
