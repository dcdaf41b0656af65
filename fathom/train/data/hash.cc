#include "fathom/train/data/hash.h"

// The whole of it in this file: nothing to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace fathom::data {

Hash128 hash128(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.low = hash.low64, .high = hash.high64};
}

Hash128 hash128(std::string_view text) {
  return hash128(std::as_bytes(std::span(text)));
}

std::uint64_t hash64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t hash64(std::string_view text) {
  return hash64(std::as_bytes(std::span(text)));
}

std::string to_hex(const Hash128& hash) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t half : {hash.high, hash.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      text += kDigits[half >> shift & 15U];
    }
  }
  return text;
}

}  // namespace fathom::data
