// XXH3 of 128 bits, the checksum of snapshots: finds damage, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fathom::kv {

struct Checksum {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const Checksum&) const = default;
};

Checksum checksum_of(std::span<const std::byte> bytes);

}  // namespace fathom::kv
