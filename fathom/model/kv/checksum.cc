#include "fathom/model/kv/checksum.h"

// The whole of it in this file: nothing to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace fathom::kv {

Checksum checksum_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace fathom::kv
