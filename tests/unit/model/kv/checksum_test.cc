#include "fathom/model/kv/checksum.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace fathom::kv {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Checksum, IsXxh3Of128BitsAsItsAuthorPublishesIt) {
  // xxhsum -H2 of an empty file.
  EXPECT_EQ(checksum_of({}),
            (Checksum{.low = 0x6001c324468d497fULL, .high = 0x99aa06d3014798d8ULL}));
}

TEST(Checksum, EveryBitOfAPageCounts) {
  std::string page(4096, 'r');
  const Checksum whole = checksum_of(bytes_of(page));
  for (std::size_t bit = 0; bit < 8 * page.size(); ++bit) {
    page[bit / 8] = static_cast<char>(page[bit / 8] ^ 1 << bit % 8);
    ASSERT_FALSE(checksum_of(bytes_of(page)) == whole) << bit;
    page[bit / 8] = static_cast<char>(page[bit / 8] ^ 1 << bit % 8);
  }
  EXPECT_EQ(checksum_of(bytes_of(page)), whole);
}

}  // namespace
}  // namespace fathom::kv
